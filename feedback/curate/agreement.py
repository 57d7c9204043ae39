"""How far each contributor can be trusted, by how they agree with others where they speak of the same thing.

Dawid and Skene 1979, "Maximum likelihood estimation of observer error-rates using the EM algorithm", with one error
rate a contributor (as in Whitehill et al. 2009 without the items' difficulty) under a Beta prior: who has said little
counts for little, whoever they agree with. Leaves out what is done with it (`trust`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PRIOR_RIGHT, PRIOR_WRONG = 4.0, 2.0
"""A contributor begins as one who was right four times in six."""

MOST_ROUNDS = 50
SETTLED = 1e-4
"""EM ends when nobody's reliability moves by more than this."""


@dataclass(frozen=True)
class Agreement:
    reliability: NDArray[np.float64]  # (C,): how likely a contributor's word is right
    posterior: NDArray[np.float64]  # (T,): how likely a target is good, by everybody's words
    compared: NDArray[np.int64]  # (C,): words of theirs that somebody else spoke on, too


def agree(
    contributor: NDArray[np.int64], target: NDArray[np.int64], good: NDArray[np.bool_], contributors: int, targets: int
) -> Agreement:
    """Votes as three columns: who (0 … C-1), on what (0 … T-1), and which way.

    Three who agree and one who never does:

    >>> who, what = np.repeat(np.arange(4), 20), np.tile(np.arange(20), 4)
    >>> truth = np.arange(20) % 2 == 0
    >>> found = agree(who, what, np.where(who < 3, truth[what], ~truth[what]), 4, 20)
    >>> found.reliability.round(2).tolist()
    [0.92, 0.92, 0.92, 0.15]
    >>> bool(((found.posterior > 0.5) == truth).all())
    True
    """
    sign = np.where(good, 1.0, -1.0)
    shared = np.bincount(target, minlength=targets)[target] > 1
    compared = np.bincount(contributor[shared], minlength=contributors)
    # A word on which nobody else spoke tells nothing about its giver: only shared targets move reliabilities.
    who, what, way = contributor[shared], target[shared], sign[shared]
    reliability = np.full(contributors, PRIOR_RIGHT / (PRIOR_RIGHT + PRIOR_WRONG))
    for _ in range(MOST_ROUNDS):
        before = reliability
        posterior = _posterior(reliability, who, what, way, targets)
        right = np.where(way > 0, posterior[what], 1 - posterior[what])
        said = np.bincount(who, weights=right, minlength=contributors)
        reliability = (PRIOR_RIGHT + said) / (PRIOR_RIGHT + PRIOR_WRONG + compared)
        if np.abs(reliability - before).max(initial=0) < SETTLED:
            break
    return Agreement(reliability, _posterior(reliability, contributor, target, sign, targets), compared)


def _posterior(
    reliability: NDArray[np.float64],
    who: NDArray[np.int64],
    what: NDArray[np.int64],
    way: NDArray[np.float64],
    targets: int,
) -> NDArray[np.float64]:
    """Log-odds of a target: the sum of its voters' own, each in the direction of the vote. No prior for good or bad."""
    odds = np.log(reliability / (1 - reliability))
    total = np.bincount(what, weights=way * odds[who], minlength=targets)
    return np.asarray(1 / (1 + np.exp(-np.clip(total, -30, 30))))
