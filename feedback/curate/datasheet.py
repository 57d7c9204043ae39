"""What is in a dataset version, where it came from, what was left out: for programs (JSON) and people (Markdown).

Follows the questions of Gebru et al. 2018, "Datasheets for Datasets", as far as they can be answered by counting. Holds
nobody's words: sample rows are named by their ids and lie in the run's folder.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from feedback.curate.compile import Planned
from feedback.curate.conflicts import CORRECTION_VALUE
from feedback.curate.consent import granted
from feedback.curate.pipeline import Curated
from feedback.policies import Policies
from feedback.run_folder import SPLITS
from feedback.states import Consent, Side

METHODS = ("sft", "dpo", "kto")
SECTIONS = ("age", "trust", "privacy", "quality", "conflicts", "balance", "augment", "training")
"""The policies that make a dataset."""
_SAMPLES = 5
_OVER = 2.0
"""From so many times an even share, something is called over-represented."""


def datasheet(
    curated: Curated, assistant: str, policies: Policies, consent: str, dataset_sha256: str
) -> dict[str, Any]:
    rows = Counter[tuple[str, str]]((planned.side.value, planned.method) for planned in curated.rows)
    dropped = {why: len(ids) for why, ids in curated.dropped.by_reason(followers=False).items()}
    training = [planned for planned in curated.rows if planned.side == Side.TRAIN]
    return {
        "assistant": assistant,
        "sha256": dataset_sha256,
        "methods": curated.methods,
        "rows": {split: {method: rows[split, method] for method in METHODS} for split in SPLITS},
        "contributors": {split: _people(one for one in curated.rows if one.side == split) for split in SPLITS},
        "shares": _shares(training),
        "origins": dict(Counter(_origin(planned) for planned in curated.rows).most_common()),
        "consent": {"policy": consent, **_grants(curated.rows)},
        "synthetic_rows": sum(planned.item.synthetic for planned in curated.rows),
        "identifiers_replaced": dict(sorted(curated.identifiers.items())),
        "funnel": [{"stage": stage, "items_left": left} for stage, left in curated.funnel],
        "dropped": [
            {"stage": stage, "reason": reason, "items": count, "waits_for_review": to_review}
            for (stage, reason, to_review), count in sorted(dropped.items(), key=lambda out: (-out[1], out[0]))
        ],
        "balance": {
            name: [
                {"group": group, "before": count, "after": curated.after.of[name][group]}
                for group, count in sorted(counts.items(), key=lambda one: (-one[1], one[0]))
            ]
            for name, counts in curated.before.of.items()
        },
        "samples": {split: [one.id for one in curated.rows if one.side == split][:_SAMPLES] for split in SPLITS},
        "policy": {section: getattr(policies, section).model_dump() for section in SECTIONS},
    }


def as_markdown(sheet: dict[str, Any]) -> str:
    return "\n".join(
        [
            f"# Dataset of {sheet['assistant']}",
            "",
            f"What people said about {sheet['assistant']}'s replies, curated for training and for judging what was "
            f"trained. Content: `{sheet['sha256']}`. Trains: {', '.join(sheet['methods']) or 'nothing'}.",
            "",
            *_about_rows(sheet),
            *_about_people(sheet),
            *_about_drops(sheet),
            *_about_balance(sheet),
            *_about_rules(sheet),
        ]
    )


def compare(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    """The counts in which two datasheets differ: rows by side and method, drops by reason."""
    counts = [Counter[tuple[str, str]](), Counter[tuple[str, str]]()]
    for counted, sheet in zip(counts, (before, after), strict=True):
        for side, methods in sheet["rows"].items():
            counted |= Counter({("rows", f"{side} {method}"): count for method, count in methods.items()})
        counted |= Counter({("dropped", f"{out['stage']}: {out['reason']}"): out["items"] for out in sheet["dropped"]})
    one, other = counts
    return [
        {"what": what, "which": which, "now": one[what, which], "then": other[what, which]}
        for what, which in sorted(one.keys() | other.keys(), key=lambda key: (key[0] != "rows", key))
        if one[what, which] != other[what, which]
    ]


def _about_rows(sheet: dict[str, Any]) -> list[str]:
    lines = [
        "## Rows",
        "",
        "Corrections become SFT rows and pairs, choices become pairs, ratings KTO rows. `train` is learned from, `dev` "
        "stops the training early, `gate` judges the result and is never trained on.",
        "",
        "| side | SFT rows | pairs | KTO rows | contributors |",
        "|---|---|---|---|---|",
    ]
    for side, counts in sheet["rows"].items():
        cells = f"{counts['sft']} | {counts['dpo']} | {counts['kto']} | {sheet['contributors'][side]}"
        lines.append(f"| {side} | {cells} |")
    origins = ", ".join(f"{count} {origin}" for origin, count in sheet["origins"].items()) or "no rows"
    lines += ["", f"Where they came from: {origins}."]
    if sheet["synthetic_rows"]:
        lines.append(f"{sheet['synthetic_rows']} training rows are synthetic: a template's phrasing of a question.")
    return [*lines, ""]


def _about_people(sheet: dict[str, Any]) -> list[str]:
    shares, consent = sheet["shares"], sheet["consent"]
    silence = "silence is a yes" if consent["policy"] == Consent.OPT_OUT else "silence is a no"
    found = ", ".join(f"{count} {kind}" for kind, count in sheet["identifiers_replaced"].items()) or "none"
    return [
        "## People",
        "",
        "Contributors are known only by keyed hashes, and each has all rows on one side. Of the training rows, the "
        f"largest contributor gave {shares['largest']:.1%}, the ten largest {shares['ten_largest']:.1%}, "
        f"anonymous people {shares['anonymous']:.1%}.",
        "",
        f"Consent: {consent['policy']} ({silence}); {consent['granted']} rows by an express grant of both who chatted "
        f"and who gave the feedback, {consent['silent']} by silence. The rows are the deployment's own records, under "
        "the terms it gives its users; imported files keep their own licences.",
        "",
        f"Identifiers replaced by placeholders: {found}.",
        "",
    ]


def _about_drops(sheet: dict[str, Any]) -> list[str]:
    lines = [
        "## What was left after each stage",
        "",
        "An item is one piece of feedback. What a line below says still trains was left out of one kind of rows only, "
        "and isn't gone.",
        "",
    ]
    lines += [f"- {entry['stage']}: {entry['items_left']}" for entry in sheet["funnel"]]
    lines += ["", "## What was dropped, and why", ""]
    lines += [
        f"- {out['items']} × {out['stage']}: {out['reason']}{' (waits for review)' if out['waits_for_review'] else ''}"
        for out in sheet["dropped"]
    ] or ["- nothing"]
    return [*lines, ""]


def _about_balance(sheet: dict[str, Any]) -> list[str]:
    lines = [
        "## Training items by topic, language, length and label",
        "",
        "As they were before and after the stage `balance`; what later stages dropped is still in both. A topic is a "
        "cluster of questions, named by its commonest words; `other` are those that have no word in common, and the "
        "cap on topics leaves them alone. A language is `unknown` where there is too little to tell it by.",
        "",
    ]
    for name, groups in sheet["balance"].items():
        before, after = (sum(group[when] for group in groups) for when in ("before", "after"))
        lines += [f"| {name} | before | share | after | share |", "|---|---|---|---|---|"]
        for group in groups:
            shares = _share(group["before"], before), _share(group["after"], after)
            lines.append(f"| {group['group']} | {group['before']} | {shares[0]} | {group['after']} | {shares[1]} |")
        lines += ["", _over_represented(name, groups, after), ""]
    return lines


def _over_represented(name: str, groups: list[dict[str, Any]], total: int) -> str:
    """What has more than twice an equal share."""
    even = total / max(len(groups), 1)
    over = [group["group"] for group in groups if len(groups) > 1 and group["after"] > _OVER * even]
    return f"More than {_OVER:g} times an even share of the {name}s: {'; '.join(over) or 'none'}."


def _about_rules(sheet: dict[str, Any]) -> list[str]:
    policy = sheet["policy"]
    lines = [
        "## Rules",
        "",
        "Contradictions: of one person's words on one question the latest counts; a correction counts for "
        f"{CORRECTION_VALUE} times as much as praise of the reply it corrects; between people, the side with "
        f"{policy['conflicts']['margin']:g} times the other's trust is believed, else the side whose last word is "
        f"{policy['conflicts']['recency_days']:g} days newer, else neither. What anonymous people say counts once, and "
        "little, however many they are. A reviewer's approval and an operator's own word outweigh any crowd.",
        "",
        "| setting | value |",
        "|---|---|",
    ]
    for section, settings in policy.items():
        lines += [f"| {section}.{name} | {value} |" for name, value in settings.items()]
    samples = "; ".join(f"{side}: {', '.join(ids)}" for side, ids in sheet["samples"].items() if ids)
    return [*lines, "", f"Sample rows (in the run's folder): {samples or 'none'}.", ""]


def _share(count: int, total: int) -> str:
    return f"{count / total:.1%}" if total else "–"


def _people(rows: Iterable[Planned]) -> int:
    return len({planned.item.contributor for planned in rows if planned.item.contributor})


def _shares(training: list[Planned]) -> dict[str, float]:
    total = max(len(training), 1)
    given = Counter(planned.item.contributor for planned in training)
    anonymous = given.pop(None, 0)
    largest = [count for _, count in given.most_common(10)]
    return {
        "largest": (largest[0] if largest else 0) / total,
        "ten_largest": sum(largest) / total,
        "anonymous": anonymous / total,
    }


def _origin(planned: Planned) -> str:
    return planned.item.source or "people who chatted"


def _grants(rows: list[Planned]) -> dict[str, int]:
    express = sum(planned.item.training is True and granted(planned.item) is True for planned in rows)
    return {"granted": express, "silent": len(rows) - express}
