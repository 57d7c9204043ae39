"""Whether a candidate is no worse by a margin: what most guards ask of their items, in one place.

Non-inferiority: the upper confidence bound of the fall must lie below the margin (CONSORT extension, Piaggio et al.
2012, JAMA 308:2594). Bounds that hold both, no fall at all and one by the margin, tell nothing: the items have no
power, and that is what is said. A guard that asks several things fails only by what so many chances can't explain
(Bonferroni). Leaves out what is measured (one file a guard) and what follows (verdict.py).
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import fmean

from feedback.states import GuardOutcome
from trainer.evaluation.record import GuardMeasure
from trainer.evaluation.statistics import Difference, more_gained_than_lost, paired_difference

LEAST_CLUSTERS = 5
"""Fewer items that don't hang together tell neither a fall nor that there was none: two may agree by chance."""


@dataclass(frozen=True)
class Values:
    """One number an item under each version, higher is better, and which items hang together."""

    what: str
    unit: str
    candidate: Sequence[float]
    baseline: Sequence[float]
    clusters: Sequence[Hashable]
    weights: Sequence[float] | None = None
    """How much each item counts; None: all alike."""
    least: float | None = None
    """What the baseline must reach at least for there to be anything to lose."""
    yes_or_no: bool = False
    """Each is 0 or 1."""


def compare(values: Values, margin: float, alpha: float, asked: int = 1) -> GuardMeasure:
    """Bounds of the fall from baseline to candidate, and what they say. `asked`: how many things the guard asks."""
    differences = [after - before for after, before in zip(values.candidate, values.baseline, strict=True)]
    baseline, candidate = _mean(values.baseline, values.weights), _mean(values.candidate, values.weights)
    powerless = values.least is not None and baseline < values.least
    if not all(map(math.isfinite, differences)):
        found, outcome = None, GuardOutcome.FAILED
    else:
        found = paired_difference(differences, values.clusters, None, alpha=alpha, weights=values.weights)
        if values.yes_or_no and not any(differences):  # without a change Clopper and Pearson's bound is all there is
            lost = 1 - alpha ** (1 / len(differences))
            found = Difference(0.0, -lost, lost, 0.0, 0.0, len(differences), found.contributors, 1)
        strict = paired_difference(differences, values.clusters, None, alpha=alpha / asked, weights=values.weights)
        fell = strict.upper < 0 and not (values.yes_or_no and _by_chance(differences, alpha / asked))
        outcome = outcome_of(found, margin, fell=fell, powerless=powerless)
        if len(set(values.clusters)) < LEAST_CLUSTERS:
            outcome = GuardOutcome.NOT_MEASURABLE
    return GuardMeasure(
        what=values.what,
        unit=values.unit,
        items=len(differences),
        candidate=candidate,
        baseline=baseline,
        difference=candidate - baseline if found is None else found.mean,
        lower=-math.inf if found is None else found.lower,
        upper=math.inf if found is None else found.upper,
        margin=margin,
        nothing_to_lose=powerless,
        outcome=outcome,
    )


def outcome_of(found: Difference, margin: float, *, fell: bool, powerless: bool = False) -> GuardOutcome:
    """`fell`: beyond chance. `powerless`: there is nothing to lose, so that not having lost it says nothing.

    >>> def fall(mean, half_width): return Difference(
    ...     mean=-mean, lower=-mean - half_width, upper=-mean + half_width, standard_error=0.0, minimum_detectable=0.0,
    ...     rows=9, contributors=9, topics=1)
    >>> cases = ((0.02, 0.04), (0.07, 0.04), (0.2, 0.1), (0.05, 0.2))
    >>> [outcome_of(fall(*bounds), 0.1, fell=bounds[0] > bounds[1]).value for bounds in cases]
    ['passed', 'failed', 'failed', 'not measurable']
    """
    if -found.lower <= margin:
        return GuardOutcome.NOT_MEASURABLE if powerless else GuardOutcome.PASSED
    return GuardOutcome.FAILED if fell else GuardOutcome.NOT_MEASURABLE


def _by_chance(differences: Sequence[float], alpha: float) -> bool:
    """Few changes are beyond what a bound is good for: the exact test has to agree."""
    lost, gained = sum(one < 0 for one in differences), sum(one > 0 for one in differences)
    return more_gained_than_lost(lost, gained) > alpha


def _mean(values: Sequence[float], weights: Sequence[float] | None) -> float:
    if weights is None:
        return fmean(values)
    return fmean(values, weights=list(weights))
