"""How sure a difference between two versions is, when rows are not independent.

Rows of one contributor, and rows about one topic, rise and fall together; treating them as independent calls
equal versions different far too often. Promises pure functions of numbers and a seed. Leaves out what the
numbers mean and what follows from them (verdict.py).
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
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
    topics: Sequence[Hashable],
    *,
    alpha: float,
    resamples: int,
    seed: int,
) -> Difference:
    """Two-way clustered bootstrap of a mean: contributors × topics, drawn independently with replacement.

    The pigeonhole bootstrap (Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2)): a row
    counts as often as its contributor was drawn times as often as its topic was. It tends to overstate the
    variance, so bounds err on the careful side. Percentiles are widened by √(G/(G−1)), G the smaller number of
    clusters of an axis that has several, because drawing G clusters understates their variance by (G−1)/G.

    Without spread there is nothing to doubt:

    >>> result = paired_difference([1, 1, 1, 1], "aabb", "xyxy", alpha=0.05, resamples=200, seed=0)
    >>> (result.mean, result.lower, result.upper, result.standard_error)
    (1.0, 1.0, 1.0, 0.0)

    Two contributors who disagree leave everything open. Drawing two of two gives means −1, 0, 1 with chances
    ¼, ½, ¼, so the standard error is √½, widened by √2 to 1, and the bounds are ∓√2 (no topic adds spread):

    >>> result = paired_difference([1, 1, -1, -1], "aabb", "xxxx", alpha=0.05, resamples=4000, seed=0)
    >>> result.mean, round(result.lower, 3), round(result.upper, 3), round(result.standard_error, 1)
    (0.0, -1.414, 1.414, 1.0)
    """
    values = np.asarray(differences, dtype=float)
    if not len(values):
        raise ValueError("No differences to bootstrap: measure at least one row.")
    random = np.random.default_rng(seed)
    by_contributor, contributor_of = _draws(contributors, resamples, random)
    by_topic, topic_of = _draws(topics, resamples, random)
    weights = by_contributor[:, contributor_of] * by_topic[:, topic_of]  # (resamples, rows)
    totals = weights.sum(axis=1)
    kept = totals > 0  # sparse data: a draw may hold no row at all
    means = (weights[kept] @ values) / totals[kept]
    mean = float(values.mean())
    clusters = min((count for count in (by_contributor.shape[1], by_topic.shape[1]) if count > 1), default=1)
    widening = math.sqrt(clusters / (clusters - 1)) if clusters > 1 else 1.0
    spread = (means - mean) * widening
    lower, upper = mean + np.quantile(spread, [alpha, 1 - alpha])
    standard_error = float(spread.std())
    return Difference(
        mean=mean,
        lower=float(lower),
        upper=float(upper),
        standard_error=standard_error,
        minimum_detectable=minimum_detectable_effect(standard_error, alpha),
        rows=len(values),
        contributors=by_contributor.shape[1],
        topics=by_topic.shape[1],
    )


def minimum_detectable_effect(standard_error: float, alpha: float) -> float:
    """The smallest true difference that a one-sided test at `alpha` finds four times in five.

    (z₁₋α + z₀.₈)·SE (Cohen 1988, ch. 2): at α = 0.05 that is (1.645 + 0.842)·SE.

    >>> round(minimum_detectable_effect(0.1, 0.05), 3)
    0.249
    """
    normal = NormalDist()
    return float((normal.inv_cdf(1 - alpha) + normal.inv_cdf(POWER)) * standard_error)


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


def _draws(labels: Sequence[Hashable], resamples: int, random: np.random.Generator) -> tuple[Any, Any]:
    """How often each cluster is drawn in each resample (resamples, clusters), and each row's cluster."""
    known: dict[Hashable, int] = {}
    cluster_of = np.array([known.setdefault(label, len(known)) for label in labels])
    clusters = len(known)
    return random.multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples), cluster_of
