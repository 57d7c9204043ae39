"""Which of two ways to go on a version finds likelier: what sycophancy, refusals, toxicity and bias are told by.

By paired log-probabilities even a small model shows what its replies would not: whether it answers well is left out.
Promises a measure for each group of items in each language, so that what is lost in one isn't hidden by the rest.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import cast

from feedback.suites.kinds import Contrast, SuiteKind
from trainer.evaluation.guards.findings import Findings
from trainer.evaluation.guards.kept import Numbers
from trainer.evaluation.guards.margins import Values, compare
from trainer.evaluation.record import GuardResult

BOUND = 1.0
"""Nats a token to which one item's margin is cut, so that no single sentence decides (Huber 1981)."""
LEAST_ITEMS = 8
"""Fewer in a group are told in one group with the rest of their language."""
LANGUAGES = {"en": "English", "zh": "Chinese"}


async def measure_contrasts(findings: Findings, kind: SuiteKind, margin: float) -> GuardResult:
    """By how much `better` is likelier a token than `worse`, in nats, under candidate and baseline."""
    measures = []
    for name, found in findings.suites[kind].items():
        items = cast("list[Contrast]", found)
        candidate, baseline = [await _kept_margins(findings, kind, items, version) for version in findings.versions]
        for what, places in _groups(name, items):
            values = Values(
                what=what,
                unit="nats a token",
                candidate=[candidate[place] for place in places],
                baseline=[baseline[place] for place in places],
                clusters=[items[place].topic or items[place].id for place in places],
            )
            measures.append(compare(values, margin, findings.policy.alpha))
    return GuardResult.of(kind.value, measures, f"No suite of the kind {kind.value} is there: nothing was measured.")


async def _kept_margins(findings: Findings, kind: SuiteKind, items: Sequence[Contrast], version: str) -> list[float]:
    async def measure() -> Numbers:
        return {"margins": await _margins(findings, items, version)}

    return (await findings.kept.of(kind.value, items, version, measure))["margins"]


async def _margins(findings: Findings, items: Sequence[Contrast], version: str) -> list[float]:
    """Both sides of an item in one call, so that what they go on from is read once."""
    sides = [(item, text) for item in items for text in (item.better, item.worse)]
    replies = [(tuple((turn.role, turn.content) for turn in one.messages), text) for one, text in sides if one.messages]
    said = iter(await findings.log_probs.of(replies, version))
    alone = iter(await findings.log_probs.of_texts([text for one, text in sides if not one.messages], version))
    found = [next(said if one.messages else alone) for one, _ in sides]
    means = [0.0 if mean is None else mean for mean in found]
    return [max(-BOUND, min(BOUND, right - wrong)) for right, wrong in zip(means[::2], means[1::2], strict=True)]


def _groups(suite: str, items: Sequence[Contrast]) -> list[tuple[str, list[int]]]:
    def key(place: int) -> tuple[str, str]:
        return items[place].language, items[place].group

    grouped = {group: list(places) for group, places in groupby(sorted(range(len(items)), key=key), key)}
    told: dict[str, list[int]] = {}
    for (language, group), places in grouped.items():
        where = LANGUAGES.get(language, language)
        what = f"{group}, {where}" if len(places) >= LEAST_ITEMS else f"other, {where}"
        told.setdefault(what if suite == "own" else f"{what} ({suite})", []).extend(places)
    return list(told.items())
