"""Whether a candidate is no worse by a margin: what most guards ask of their items, in one place.

Non-inferiority: the upper confidence bound of the fall must lie below the margin (CONSORT extension, Piaggio et al.
2012, JAMA 308:2594). Bounds that hold both, no fall at all and one by the margin, tell nothing: the items have no
power, and that is what is said. Leaves out what is measured (one file a guard) and what follows (verdict.py).
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import fmean

from feedback.states import GuardOutcome
from trainer.evaluation.record import GuardMeasure
from trainer.evaluation.statistics import Difference, paired_difference


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
    form: str = "{:.3f}"


def compare(values: Values, margin: float, alpha: float) -> GuardMeasure:
    """Bounds of the fall from baseline to candidate, and what they say."""
    differences = [after - before for after, before in zip(values.candidate, values.baseline, strict=True)]
    found = paired_difference(differences, values.clusters, None, alpha=alpha, weights=values.weights)
    baseline = _mean(values.baseline, values.weights)
    return GuardMeasure(
        what=values.what,
        unit=values.unit,
        items=len(differences),
        candidate=_mean(values.candidate, values.weights),
        baseline=baseline,
        difference=found.mean,
        lower=found.lower,
        upper=found.upper,
        margin=margin,
        outcome=outcome_of(found, margin, powerless=values.least is not None and baseline < values.least),
    )


def outcome_of(found: Difference, margin: float, *, powerless: bool = False) -> GuardOutcome:
    """`powerless`: there is nothing to lose, so that not having lost it says nothing.

    >>> def fall(mean, half_width): return Difference(
    ...     mean=-mean, lower=-mean - half_width, upper=-mean + half_width, standard_error=0.0, minimum_detectable=0.0,
    ...     rows=9, contributors=9, topics=1)
    >>> [outcome_of(fall(*bounds), 0.1).value for bounds in ((0.02, 0.04), (0.07, 0.04), (0.2, 0.1), (0.05, 0.2))]
    ['passed', 'failed', 'failed', 'not measurable']
    """
    if -found.lower <= margin:
        return GuardOutcome.NOT_MEASURABLE if powerless else GuardOutcome.PASSED
    return GuardOutcome.FAILED if found.upper < 0 else GuardOutcome.NOT_MEASURABLE


def _mean(values: Sequence[float], weights: Sequence[float] | None) -> float:
    if weights is None:
        return fmean(values)
    return fmean(values, weights=list(weights))
