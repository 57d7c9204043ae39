"""Groups that vote as one: the same targets, the same way, again and again, against or beside everybody else.

Agreement makes trust (`agreement`), so those who agree only among themselves would lift each other. After Beutel et al.
2013, "CopyCatch", and Cao et al. 2014, "SynchroTrap": accounts are compared by the actions that they share.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedback.curate.similarity import leaders

_MOST_VOTERS = 200
"""What so many spoke on is in everybody's history: it joins nobody."""
_ALIKE = 0.95
"""Share of their common votes that two must cast the same way."""
_ALWAYS_TOGETHER = 0.3
"""Share of the smaller one's votes that must be on common targets."""
_SMALLEST_GROUP = 3
_AT_ONCE = 1000
"""Contributors, or pairs of them, that are compared at a time."""
_DISSENT = 0.3
"""Share of a group's targets on which somebody else says the opposite."""
_LEADS = 0.9
"""Share of the votes in common that must be the first ones on their targets for somebody to have followed nobody."""
_CREDIBLE = 0.6
"""Reliability from which somebody's contradiction counts; a newcomer's does."""


def groups(
    contributor: NDArray[np.int64],
    target: NDArray[np.int64],
    good: NDArray[np.bool_],
    contributors: int,
    targets: int,
    *,
    min_shared: int,
) -> NDArray[np.int64]:
    """(contributors,): the group that each votes as one with, or -1. Votes as for `agreement.agree`, one a target.

    >>> who, what = np.repeat(np.arange(5), 10), np.tile(np.arange(10), 5)
    >>> good = (what % 2 == 0) == (who < 2)
    >>> good[3] = not good[3]
    >>> groups(who, what, good, 5, 10, min_shared=8).tolist()
    [-1, -1, 2, 2, 2]
    """
    from scipy.sparse import csr_array

    told = np.bincount(target, minlength=targets)
    active = np.bincount(contributor, minlength=contributors)
    useful = (told[target] > 1) & (told[target] <= _MOST_VOTERS) & (active[contributor] >= min_shared)
    who, what, way = contributor[useful], target[useful], np.where(good[useful], 1, -1)
    there = csr_array((np.ones(len(who), np.int32), (who, what)), shape=(contributors, targets))
    voted = csr_array((way.astype(np.int32), (who, what)), shape=(contributors, targets))
    pairs = [np.empty((0, 2), np.int64)]
    for start in range(0, contributors, _AT_ONCE):
        shared = (there[start : start + _AT_ONCE] @ there.T).tocoo()
        often = (shared.data >= min_shared) & (shared.row + start < shared.col)
        one, other, common = shared.row[often] + start, shared.col[often], shared.data[often]
        agreeing = (common + _pairwise(voted, one, other)) / 2
        alike = (agreeing >= _ALIKE * common) & (common >= _ALWAYS_TOGETHER * np.minimum(active[one], active[other]))
        pairs.append(np.stack([one[alike], other[alike]], axis=1))
    group = leaders(np.concatenate(pairs), contributors)
    sizes = np.bincount(group, minlength=contributors)
    return np.where(sizes[group] >= _SMALLEST_GROUP, group, -1)


def _pairwise(voted: Any, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """The dot products of rows `one` and `other`, some at a time."""
    found = [
        np.asarray(voted[one[start : start + _AT_ONCE]].multiply(voted[other[start : start + _AT_ONCE]]).sum(axis=1))
        for start in range(0, len(one), _AT_ONCE)
    ]
    return np.concatenate([some.ravel() for some in found]) if found else np.empty(0, np.int64)


def suspicious(
    contributor: NDArray[np.int64],
    target: NDArray[np.int64],
    good: NDArray[np.bool_],
    group: NDArray[np.int64],
    reliability: NDArray[np.float64],
    order: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """(contributors,): of groups that at least three reliable others contradict, those who are themselves; of groups
    that nobody else joins, those who followed somebody.

    Three who agree because they are right are contradicted by liars alone, whom `reliability` tells. Where nobody else
    joins, who voted before the others of the group followed nobody: or who wants somebody's words gone would only have
    to copy them. `order` is each vote's place in time.
    """
    way = np.where(good, 1, -1)
    credible = reliability[contributor] >= _CREDIBLE
    targets = int(target.max(initial=-1)) + 1
    caught = np.zeros(len(group), bool)
    for number in np.unique(group[group >= 0]):
        votes = (group == number)[contributor]
        theirs = np.bincount(target[votes], weights=way[votes], minlength=targets)
        there = theirs != 0
        outside = ~votes & there[target]
        against = outside & credible & (way != np.sign(theirs[target]))
        alone = there & (np.bincount(target[outside], minlength=targets) == 0)
        opposed = len(np.unique(target[against])) >= _DISSENT * int(there.sum())
        if opposed and len(np.unique(contributor[against])) >= _SMALLEST_GROUP:
            caught |= (group == number) & _contradicted(contributor, target, way, votes, outside & credible, len(group))
        elif alone.sum() > there.sum() / 2:
            caught |= (group == number) & ~_leads(contributor, target, order, votes, len(group))
    return caught


def _contradicted(
    contributor: NDArray[np.int64],
    target: NDArray[np.int64],
    way: NDArray[np.int64],
    votes: NDArray[np.bool_],
    others: NDArray[np.bool_],
    contributors: int,
) -> NDArray[np.bool_]:
    """(contributors,): whom reliable others contradict at least as often as they agree, on what they both spoke of.

    So that nobody answers for what somebody else did with a copy of some of their votes.
    """
    balance = np.bincount(target[others], weights=way[others], minlength=int(target.max()) + 1)
    agreeing = np.sign(balance[target[votes]]) * way[votes]
    return np.bincount(contributor[votes], weights=agreeing, minlength=contributors) <= 0


def _leads(
    contributor: NDArray[np.int64],
    target: NDArray[np.int64],
    order: NDArray[np.int64],
    votes: NDArray[np.bool_],
    contributors: int,
) -> NDArray[np.bool_]:
    """(contributors,): who gave nearly all of their votes that others of the group gave, too, before those did."""
    who, what = contributor[votes], target[votes]
    common = np.bincount(what)[what] > 1
    who, what, when = who[common], what[common], order[votes][common]
    _, first = np.unique(what[np.argsort(when)], return_index=True)
    shared = np.bincount(who, minlength=contributors)
    earliest = np.bincount(who[np.argsort(when)][first], minlength=contributors)
    return (shared > 0) & (earliest >= _LEADS * shared)
