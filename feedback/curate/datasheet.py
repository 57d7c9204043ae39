"""What is in a dataset version, where it came from, what was left out: for programs (JSON) and people (Markdown).

Follows the questions of Gebru et al. 2018, "Datasheets for Datasets", as far as they can be answered by counting.
"""

from collections import Counter
from typing import Any

from feedback.curate.pipeline import Curated
from feedback.policies import TrainingPolicy
from feedback.run_folder import SPLITS


def datasheet(curated: Curated, assistant: str, policy: TrainingPolicy, dataset_sha256: str) -> dict[str, Any]:
    rows = Counter((made.side.value, made.row.method) for made in curated.rows)
    people = {
        split: len({made.row.contributor for made in curated.rows if made.side == split and made.row.contributor})
        for split in SPLITS
    }
    dropped = Counter((out.stage, out.reason) for out in curated.dropped)
    return {
        "assistant": assistant,
        "sha256": dataset_sha256,
        "methods": curated.methods,
        "rows": {split: {method: rows[split, method] for method in ("sft", "dpo", "kto")} for split in SPLITS},
        "contributors": people,
        "funnel": [{"stage": stage, "items_left": left} for stage, left in curated.funnel],
        "dropped": [
            {"stage": stage, "reason": reason, "items": count} for (stage, reason), count in dropped.most_common()
        ],
        "policy": policy.model_dump(),
    }


def as_markdown(sheet: dict[str, Any]) -> str:
    lines = [
        f"# Dataset of {sheet['assistant']}",
        "",
        f"Content: `{sheet['sha256']}`. Made from feedback on {sheet['assistant']}'s replies; "
        "contributors are known only by keyed hashes, and each has all rows on one side.",
        "",
        "| side | SFT rows | pairs | KTO rows | contributors |",
        "|---|---|---|---|---|",
    ]
    for side, counts in sheet["rows"].items():
        cells = f"{counts['sft']} | {counts['dpo']} | {counts['kto']} | {sheet['contributors'][side]}"
        lines.append(f"| {side} | {cells} |")
    lines += [
        "",
        f"Trains: {', '.join(sheet['methods']) or 'nothing'}.",
        "",
        "## What was left after each stage",
        "",
    ]
    lines += [f"- {entry['stage']}: {entry['items_left']}" for entry in sheet["funnel"]]
    lines += ["", "## What was dropped, and why", ""]
    lines += [f"- {out['items']} × {out['stage']}: {out['reason']}" for out in sheet["dropped"]] or ["- nothing"]
    return "\n".join(lines) + "\n"
