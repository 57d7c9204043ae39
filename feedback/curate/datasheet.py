"""What is in a dataset version, where it came from, what was left out: counted, as JSON.

Follows the questions of Gebru et al. 2018, "Datasheets for Datasets", as far as they can be answered by counting. Holds
nobody's words: sample rows are named by their ids and lie in the run's folder. Leaves out the page for people
(datasheet_page.py).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from feedback.curate.compile import Planned
from feedback.curate.consent import granted
from feedback.curate.pipeline import Curated
from feedback.policies import Policies
from feedback.run_folder import SPLITS
from feedback.states import Side

METHODS = ("sft", "dpo", "kto")
SECTIONS = ("age", "trust", "privacy", "quality", "conflicts", "duplicates", "balance", "augment", "training")
"""The policies that make a dataset."""
_SAMPLES = 2
"""Rows of each side and method that a reader is shown: the first by id, which has nothing to do with what they say."""


def datasheet(
    curated: Curated,
    assistant: str,
    policies: Policies,
    consent: str,
    dataset_sha256: str,
    licences: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """`licences`: of imported files, by origin, as far as the operator named them."""
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
        "licences": dict(licences or {}),
        "topics_of_gate": _topics_of_gate(curated.rows),
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
        "samples": {split: _sample(one for one in curated.rows if one.side == split) for split in SPLITS},
        "policy": {section: getattr(policies, section).model_dump() for section in SECTIONS},
    }


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


def _topics_of_gate(rows: list[Planned]) -> dict[str, int]:
    """Gate rows by whether a training row has their topic: the others ask for what was never taught."""
    trained = {planned.topic for planned in rows if planned.side == Side.TRAIN}
    gate = [planned.topic in trained for planned in rows if planned.side == Side.GATE]
    return {"trained": sum(gate), "untrained": len(gate) - sum(gate)}


def _sample(rows: Iterable[Planned]) -> list[str]:
    by_method: dict[str, list[str]] = {method: [] for method in METHODS}
    for planned in rows:
        if len(by_method[planned.method]) < _SAMPLES:
            by_method[planned.method].append(planned.id)
    return [row_id for some in by_method.values() for row_id in some]
