"""How sure a difference between two versions is, when rows are not independent.

Rows of one contributor, and rows about one topic, rise and fall together; treating them as independent calls
equal versions different far too often. Promises pure functions of numbers. Leaves out what the
numbers mean and what follows from them (verdict.py).
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

POWER = 0.8


@dataclass(frozen=True)
class Difference:
    """Candidate minus baseline. Each bound is one-sided: the truth is beyond it with chance `alpha`."""

    mean: float
    lower: float
    upper: float
    standard_error: float
    minimum_detectable: float
    rows: int
    contributors: int
    topics: int


def paired_difference(
    differences: Sequence[float],
    contributors: Sequence[Hashable],
    topics: Sequence[Hashable] | None,
    *,
    alpha: float,
    weights: Sequence[float] | None = None,
) -> Difference:
    """A mean, weighed if asked for, with bounds that allow for rows of one contributor, or topic, hanging together.

    Two-way cluster-robust variance (Cameron, Gelbach & Miller 2011, JBES 29(2), eq. 2.11): that of contributors plus
    that of topics less that of their intersections, never less than either. Each is the jackknife's, CV3 (MacKinnon,
    Nielsen & Webb 2023, "Cluster-robust inference"), which allows for clusters of uneven size. Bounds are Student's,
    with as many degrees of freedom as the axis with the fewest effective clusters leaves (Bell & McCaffrey 2002).
    docs/evaluation.md has how often they err, simulated.

    Without spread there is nothing to doubt:

    >>> result = paired_difference([1, 1, 1, 1], "aabb", "xyxy", alpha=0.05)
    >>> (result.mean, result.lower, result.upper, result.standard_error)
    (1.0, 1.0, 1.0, 0.0)

    Two contributors who disagree leave everything open. Without one of them the mean is that of the other: -1 or 1. So
    the jackknife's variance is ½·(1² + 1²) = 1, and with one degree of freedom the bounds are ∓6.314 (no topic adds
    spread):

    >>> result = paired_difference([1, 1, -1, -1], "aabb", "xxxx", alpha=0.05)
    >>> result.mean, round(result.lower, 3), round(result.upper, 3), round(result.standard_error, 3)
    (0.0, -6.314, 6.314, 1.0)
    """
    from scipy.stats import t as student

    values = np.asarray(differences, dtype=float)
    if not len(values):
        raise ValueError("No differences to compare: measure at least one row.")
    shares = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=float)
    shares = shares / shares.sum()
    mean = float(shares @ values)
    influence = shares * (values - mean)
    by_contributor = _clusters(contributors)
    by_topic = _clusters(topics if topics is not None else ["all"] * len(values))
    by_both = _clusters(list(zip(by_contributor.tolist(), by_topic.tolist(), strict=True)))
    axes = [_jackknife(influence, shares, one) for one in (by_contributor, by_topic)]
    crossed = _jackknife(influence, shares, by_both)
    variance = axes[0].variance + axes[1].variance - (crossed.variance if all(axis.told for axis in axes) else 0.0)
    variance = max(variance, axes[0].variance, axes[1].variance)
    freedom = min((axis.freedom for axis in axes if axis.told), default=1.0)
    # one row, or one cluster, tells nothing of how far others are from it
    standard_error = math.sqrt(variance) if any(axis.told for axis in axes) else math.inf
    half_width = float(student.ppf(1 - alpha, freedom)) * standard_error
    return Difference(
        mean=mean,
        lower=mean - half_width,
        upper=mean + half_width,
        standard_error=standard_error,
        minimum_detectable=half_width + float(student.ppf(POWER, freedom)) * standard_error,
        rows=len(values),
        contributors=int(by_contributor.max()) + 1,
        topics=int(by_topic.max()) + 1,
    )


@dataclass(frozen=True)
class _Axis:
    variance: float
    freedom: float
    told: bool
    """Whether there is more than one cluster: one tells nothing of how far clusters differ."""


def _jackknife(influence: Any, shares: Any, cluster_of: Any) -> _Axis:
    """The mean's variance from leaving out a cluster at a time, and its degrees of freedom if rows were independent."""
    held = np.bincount(cluster_of, weights=shares)
    clusters = len(held)
    if clusters == 1:
        return _Axis(0.0, 1.0, told=False)
    shifts = np.bincount(cluster_of, weights=influence) / (1 - held)
    variance = float((clusters - 1) / clusters * (shifts**2).sum())
    return _Axis(variance, max(1.0, float(1 / (held**2).sum()) - 1), told=True)


def _clusters(labels: Sequence[Hashable]) -> Any:
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(label, len(known)) for label in labels])


def alpha_of_try(alpha: float, tries: int) -> float:
    """What the k-th candidate held against one baseline may err by: αₖ = 6α/(π²k²), which sum to α over any number.

    >>> [round(alpha_of_try(0.05, k), 4) for k in (1, 2, 20)]
    [0.0304, 0.0076, 0.0001]
    >>> round(sum(alpha_of_try(0.05, k) for k in range(1, 9999)), 4)
    0.05
    """
    return alpha * 6 / (math.pi * tries) ** 2


def exact_mcnemar(better: int, worse: int) -> float:
    """Two-sided p-value that as many rows changed for the better as for the worse (McNemar 1947, exact form).

    Of 5 changed rows all for the better: 2 · (½)⁵.

    >>> exact_mcnemar(5, 0)
    0.0625
    >>> exact_mcnemar(3, 3), exact_mcnemar(0, 0)
    (1.0, 1.0)
    """
    changed = better + worse
    tail = sum(math.comb(changed, k) for k in range(min(better, worse) + 1))
    return float(min(1.0, 2 * tail / 2**changed))


def more_gained_than_lost(gained: int, lost: int) -> float:
    """One-sided p-value of as many more rows gained than lost, or more, by chance (McNemar 1947, exact form).

    >>> more_gained_than_lost(5, 0), more_gained_than_lost(3, 3), more_gained_than_lost(0, 0)
    (0.03125, 0.65625, 1.0)
    """
    changed = gained + lost
    return float(sum(math.comb(changed, k) for k in range(gained, changed + 1)) / 2**changed)
