"""Which of two ways to go on a version finds likelier: what sycophancy, refusals, toxicity and bias are told by.

By paired log-probabilities even a small model shows what its replies would not: whether it answers well is left out.
Promises a measure for each group of items in each language, so that what is lost in one isn't hidden by the rest.
"""

from collections.abc import Sequence
from typing import cast

from feedback.suites.kinds import Contrast, SuiteKind
from trainer.evaluation.guards.findings import Findings
from trainer.evaluation.guards.kept import Numbers
from trainer.evaluation.guards.margins import LEAST_CLUSTERS, Values, compare
from trainer.evaluation.metrics import bounded, in_tuples
from trainer.evaluation.record import GuardResult

BOUND = 1.0
"""Nats a token to which one item's margin is cut, so that no single sentence decides (Huber 1981)."""
LANGUAGES = {"en": "English", "zh": "Chinese"}


async def measure_contrasts(findings: Findings, kind: SuiteKind, margin: float) -> GuardResult:
    """By how much `better` is likelier a token than `worse`, in nats, under candidate and baseline."""
    asked = []
    for name, found in findings.suites[kind].items():
        items = cast("list[Contrast]", found)
        candidate, baseline = [await _kept_margins(findings, kind, items, version) for version in findings.versions]
        for what, places in _groups(name, items):
            fits = [place for place in places if candidate[place] is not None and baseline[place] is not None]
            if fits:
                asked.append(
                    Values(
                        what=what,
                        unit="nats a token",
                        candidate=[candidate[place] or 0.0 for place in fits],
                        baseline=[baseline[place] or 0.0 for place in fits],
                        clusters=[items[place].topic or items[place].id for place in fits],
                    )
                )
    measures = [compare(values, margin, findings.policy.alpha, len(asked)) for values in asked]
    return GuardResult.of(kind.value, measures, f"No suite of the kind {kind.value} is there: nothing was measured.")


async def _kept_margins(
    findings: Findings, kind: SuiteKind, items: Sequence[Contrast], version: str
) -> list[float | None]:
    async def measure() -> Numbers:
        return {"margins": await _margins(findings, items, version)}

    return (await findings.kept.of(kind.value, items, version, measure))["margins"]


async def _margins(findings: Findings, items: Sequence[Contrast], version: str) -> list[float | None]:
    """Both sides of an item in one call, so that what they go on from is read once. None: longer than the context."""
    sides = [(item, text) for item in items for text in (item.better, item.worse)]
    replies = [(in_tuples(findings.asked(one.messages)), text) for one, text in sides if one.messages]
    said = iter(await findings.log_probs.of(replies, version))
    alone = iter(await findings.log_probs.of_texts([text for one, text in sides if not one.messages], version))
    means = [next(said if one.messages else alone) for one, _ in sides]
    return [
        None if right is None or wrong is None else bounded(right - wrong, BOUND)
        for right, wrong in zip(means[::2], means[1::2], strict=True)
    ]


def _groups(suite: str, items: Sequence[Contrast]) -> list[tuple[str, list[int]]]:
    """Each group in each language by itself: together, one might hide what the other loses. Those that are too small
    to tell anything, as of a suite that was cut short, are asked together."""
    told: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        told.setdefault(f"{item.group}, {LANGUAGES.get(item.language, item.language)}", []).append(place)
    small = [what for what, places in told.items() if len(places) < LEAST_CLUSTERS]
    if len(small) > 1:
        together = sorted(place for what in small for place in told.pop(what))
        told["small groups together" if told else "all groups together"] = together
    return sorted((what if suite == "own" else f"{what} ({suite})", places) for what, places in told.items())
