"""Groups that vote as one: the same targets, the same way, again and again, against or beside everybody else.

Agreement makes trust (`agreement`), so those who agree only among themselves would lift each other. After Beutel et al.
2013, "CopyCatch", and Cao et al. 2014, "SynchroTrap": accounts are compared by the actions that they share.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_VOTERS = 200
"""What so many spoke on is in everybody's history: it joins nobody."""
_ALIKE = 0.95
"""Share of their common votes that two must cast the same way."""
_ALWAYS_TOGETHER = 0.3
"""Share of the smaller one's votes that must be on common targets."""
_SMALLEST_GROUP = 3
_DISSENT = 0.3
"""Share of a group's votes that go against everybody else, where there is anybody else."""


def in_lockstep(
    contributor: NDArray[np.int64],
    target: NDArray[np.int64],
    good: NDArray[np.bool_],
    contributors: int,
    targets: int,
    *,
    min_shared: int,
) -> NDArray[np.bool_]:
    """(contributors,): who belongs to such a group. Votes as for `agreement.agree`, one a contributor and target.

    Three who always say the opposite of two others, and one of the others who says it only once:

    >>> who, what = np.repeat(np.arange(5), 10), np.tile(np.arange(10), 5)
    >>> good = (what % 2 == 0) == (who < 2)
    >>> good[3] = not good[3]
    >>> in_lockstep(who, what, good, 5, 10, min_shared=8).tolist()
    [False, False, True, True, True]
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    told = np.bincount(target, minlength=targets)
    active = np.bincount(contributor, minlength=contributors)
    useful = (told[target] > 1) & (told[target] <= _MOST_VOTERS) & (active[contributor] >= min_shared)
    who, what, way = contributor[useful], target[useful], np.where(good[useful], 1, -1)
    there = csr_array((np.ones(len(who), np.int32), (who, what)), shape=(contributors, targets))
    voted = csr_array((way.astype(np.int32), (who, what)), shape=(contributors, targets))
    shared = (there @ there.T).tocoo()
    often = (shared.data >= min_shared) & (shared.row < shared.col)
    one, other, common = shared.row[often], shared.col[often], shared.data[often]
    agreeing = (common + _pairwise(voted, one, other)) / 2
    alike = (agreeing >= _ALIKE * common) & (common >= _ALWAYS_TOGETHER * np.minimum(active[one], active[other]))
    links = csr_array((np.ones(int(alike.sum())), (one[alike], other[alike])), shape=(contributors, contributors))
    _, group = connected_components(links, directed=False)
    sizes = np.bincount(group)
    return _against_others(contributor, target, good, targets, np.where(sizes[group] >= _SMALLEST_GROUP, group, -1))


def _pairwise(voted: Any, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """The dot products of rows `one` and `other`, a thousand at a time."""
    found = [
        np.asarray(voted[one[start : start + 1000]].multiply(voted[other[start : start + 1000]]).sum(axis=1)).ravel()
        for start in range(0, len(one), 1000)
    ]
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _against_others(
    contributor: NDArray[np.int64],
    target: NDArray[np.int64],
    good: NDArray[np.bool_],
    targets: int,
    group: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Of the groups' members, those whose group contradicts the others, or speaks where nobody else does."""
    way = np.where(good, 1, -1)
    everybody = np.bincount(target, weights=way, minlength=targets)
    caught = np.zeros(len(group), bool)
    for number in np.unique(group[group >= 0]):
        members = group == number
        votes = members[contributor]
        what = target[votes]
        theirs = np.bincount(what, weights=way[votes], minlength=targets)
        size = np.bincount(what, minlength=targets)
        others = (everybody - theirs)[what]
        alone = np.bincount(target, minlength=targets)[what] == size[what]
        against = np.sign(others) == -np.sign(way[votes])
        if alone.mean() > 0.5 or (against[~alone].mean() if (~alone).any() else 0) >= _DISSENT:
            caught |= members
    return caught
