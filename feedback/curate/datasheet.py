"""What is in a dataset version, where it came from, what was left out: counted, as JSON.

Follows the questions of Gebru et al. 2018, "Datasheets for Datasets", as far as they can be answered by counting. Holds
nobody's words: sample rows are named by their ids and lie in the run's folder. Leaves out the page for people
(datasheet_page.py).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from feedback.curate.balance import Shares
from feedback.curate.cautions import cautions
from feedback.curate.compile import Planned
from feedback.curate.consent import granted
from feedback.curate.items import IMPORTED
from feedback.curate.pipeline import Curated
from feedback.curate.portrait import PEOPLE, origin
from feedback.policies import Policies
from feedback.run_folder import SPLITS, Method, Split
from feedback.states import ReviewDecision

METHODS: tuple[Method, ...] = ("sft", "dpo", "kto")
SECTIONS = ("age", "trust", "privacy", "quality", "conflicts", "duplicates", "balance", "augment", "training")
"""The policies that make a dataset."""
_SAMPLES = 2
"""Rows of each side and method that a reader is shown: the first by id, a hash that tells nothing of what they say."""


@dataclass(frozen=True)
class About:
    """What a dataset is for, beside what people said."""

    assistant: str
    base_model: str
    consent: str  # states.Consent
    policies: Policies
    made_at: float  # seconds since 1970
    purpose: str = ""  # the guidelines'
    guidelines_version: int = 1
    licences: Mapping[str, str] = field(default_factory=dict)  # of imported files, by origin, as operators named them


def datasheet(curated: Curated, about: About, dataset_sha256: str) -> dict[str, Any]:
    dropped = {why: len(ids) for why, ids in curated.dropped.by_reason(followers=False).items()}
    sides = {split: [one for one in curated.rows if one.side == split] for split in SPLITS}
    sheet: dict[str, Any] = {
        "assistant": about.assistant,
        "base_model": about.base_model,
        "purpose": about.purpose,
        "guidelines_version": about.guidelines_version,
        "made_at": datetime.fromtimestamp(about.made_at, UTC).isoformat(timespec="seconds"),
        "sha256": dataset_sha256,
        "methods": curated.methods,
        "rows": {split: _by_method(rows) for split, rows in sides.items()},
        "people": {split: _people(rows) for split, rows in sides.items()},
        "said": _span(curated.rows),
        "origins": _origins(curated, sides, about),
        "vouched_for": curated.portrait.vouched_for,
        "consent": {"policy": about.consent, **_grants(curated.rows)},
        "stood_behind": _stood_behind(curated.rows),
        "topics_of_gate": _topics_of_gate(sides),
        "synthetic_rows": sum(planned.item.synthetic for planned in curated.rows),
        "identifiers_replaced": dict(sorted(curated.identifiers.items())),
        "funnel": [{"stage": stage, "items_left": left} for stage, left in curated.funnel],
        "dropped": [
            {"stage": stage, "reason": reason, "items": count, "waits_for_review": to_review}
            for (stage, reason, to_review), count in sorted(dropped.items(), key=lambda out: (-out[1], out[0]))
        ],
        "balance": _balance(curated),
        "pairs": {side.value: asdict(look) for side, look in curated.portrait.pairs.items()},
        "samples": {split: _sample(rows) for split, rows in sides.items()},
        "policy": {section: getattr(about.policies, section).model_dump() for section in SECTIONS},
    }
    return sheet | {"cautions": cautions(sheet, about.policies.verdict)}


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


def _by_method(rows: Iterable[Planned]) -> dict[Method, int]:
    counts = Counter(planned.method for planned in rows)
    return {method: counts[method] for method in METHODS}


def _people(rows: Iterable[Planned]) -> dict[str, int]:
    """Who gave the rows: named contributors, the rows of the largest and of the ten largest, and nobody's."""
    given = Counter(planned.item.contributor for planned in rows)
    anonymous = given.pop(None, 0)
    largest = [count for _, count in given.most_common(10)]
    return {
        "contributors": len(given),
        "rows_of_largest": sum(largest[:1]),
        "rows_of_ten_largest": sum(largest),
        "anonymous_rows": anonymous,
    }


def _span(rows: Iterable[Planned]) -> dict[str, str] | None:
    """The days on which the oldest and the newest piece of feedback was given that a row is named by."""
    times = [planned.item.created_at for planned in rows]
    if not times:
        return None
    first, last = (datetime.fromtimestamp(time, UTC).date().isoformat() for time in (min(times), max(times)))
    return {"first": first, "last": last}


def _origins(curated: Curated, sides: Mapping[Split, list[Planned]], about: About) -> list[dict[str, Any]]:
    rows = {split: Counter(origin(planned.item) for planned in some) for split, some in sides.items()}
    return [
        {
            "origin": name,
            "received": count,
            "rows": {split: counts[name] for split, counts in rows.items()},
            "licence": about.licences.get(name),
        }
        for name, count in sorted(curated.portrait.received.items(), key=lambda one: (one[0] != PEOPLE, -one[1], one))
    ]


def _grants(rows: list[Planned]) -> dict[str, int]:
    """On what word the rows are used. Of what was imported its importer answered for the people."""
    express = Counter(_is_imported(planned) for planned in rows if _express(planned))
    return {"granted": express[False], "declared_by_importer": express[True], "silent": len(rows) - express.total()}


def _express(planned: Planned) -> bool:
    return planned.item.training is True and granted(planned.item) is True


def _is_imported(planned: Planned) -> bool:
    return (planned.item.source or "").startswith(IMPORTED)


def _stood_behind(rows: list[Planned]) -> dict[str, int]:
    return {
        "rows_of_several_voices": sum(len(planned.feedback_ids) > 1 for planned in rows),
        "rows_approved_in_review": sum(planned.item.review == ReviewDecision.APPROVED for planned in rows),
    }


def _topics_of_gate(sides: Mapping[Split, list[Planned]]) -> dict[str, int]:
    """Gate rows with key facts, by whether a training row has the same: the others ask what was never taught."""
    trained = {planned.topic for planned in sides["train"]}
    gate = [planned.topic in trained for planned in sides["gate"] if planned.item.key_facts]
    return {"trained": sum(gate), "untrained": len(gate) - sum(gate)}


def _balance(curated: Curated) -> dict[str, list[dict[str, Any]]]:
    seen = curated.portrait
    shares: dict[str, Shares] = {
        "before": seen.before,
        "after": seen.after,
        "trains": seen.trains,
        "judges": seen.judges,
    }

    def groups(name: str) -> list[str]:
        return sorted(
            {group for share in shares.values() for group in share.of[name]},
            key=lambda group: (-seen.before.of[name][group], group),
        )

    return {
        name: [
            {"group": group, **{when: share.of[name][group] for when, share in shares.items()}}
            for group in groups(name)
        ]
        for name in seen.before.of
    }


def _sample(rows: Iterable[Planned]) -> dict[str, str]:
    """Row id → origin: some of each method, of different origins if there are."""
    rows = list(rows)
    found: dict[str, str] = {}
    for method in METHODS:
        some = [one for one in rows if one.method == method]
        first_of_origins = {origin(one.item): one for one in reversed(some)}
        chosen = [*sorted(first_of_origins.values(), key=lambda one: one.id), *some]
        found |= {one.id: origin(one.item) for one in list(dict.fromkeys(chosen))[:_SAMPLES]}
    return found
