"""Choices and ratings without their lengths: a candidate isn't better for having learned "shorter", or "longer".

Where people chose the longer reply and where they chose the shorter one count alike, however many there are of each; a
candidate that learned a length alone gains in one what it loses in the other. Where nearly all went one way, that can't
be told from having learned it: then choices don't decide. Liked replies are held against disliked ones about the
same, of about their length, and of the same writer.
"""

from collections import Counter
from collections.abc import Hashable, Sequence

ALIKE = 0.1
"""Lengths that differ by less than this share of the longer one count as equal."""
MOST_WEIGHT = 5.0
"""A handful of pairs mustn't stand for a hundred."""
LEAST = 8
"""Fewer pairs in which the longer (or the shorter) reply was chosen say nothing of such pairs."""

Lengths = Sequence[tuple[int, int]]
"""(chosen, rejected)"""


def weights(lengths: Lengths) -> list[float] | None:
    """A weight for each pair; those of about equal length count 1. None: they can't be balanced.

    >>> weights([(10, 40)] * 24 + [(40, 10)] * 8 + [(30, 31)])[::8]
    [0.6666666666666666, 0.6666666666666666, 0.6666666666666666, 2.0, 1.0]
    >>> weights([(10, 40)] * 90 + [(40, 10)] * 8) is None, weights([(30, 31)] * 3)
    (True, [1.0, 1.0, 1.0])
    """
    strata = [stratum(chosen, rejected) for chosen, rejected in lengths]
    longer, shorter = strata.count(1), strata.count(-1)
    if not longer and not shorter:
        return [1.0] * len(strata)
    half = (longer + shorter) / 2
    if min(longer, shorter) < LEAST or half / min(longer, shorter) > MOST_WEIGHT:
        return None
    of = {0: 1.0, 1: half / longer, -1: half / shorter}
    return [of[one] for one in strata]


def rated_stratum(topic: str, writer: str | None, characters: int) -> Hashable:
    """What rated replies must be alike in to be held against each other: what they are about, who wrote them, and their
    length within a factor of two. Else a candidate would gain by moving away from what people disliked, to anything.

    >>> rated_stratum("t", "base", 40) == rated_stratum("t", "base", 63) != rated_stratum("t", "base", 64)
    True
    """
    return topic, writer, characters.bit_length()


def rated_weights(strata: Sequence[Hashable], liked: Sequence[bool]) -> list[float] | None:
    """A weight for each rated reply, so that liked and disliked ones weigh alike in each stratum; 0 where there is
    nothing to hold one against. None: too few are left.

    >>> weighed = rated_weights("l" * 30 + "s" * 5, [True] * 20 + [False] * 10 + [True] * 5)
    >>> [round(weight, 2) for weight in weighed[::15]]
    [0.67, 0.67, 0.0]
    >>> rated_weights("l" * 20 + "s" * 20, [True] * 20 + [False] * 20) is None
    True
    """
    counts = Counter(zip(strata, liked, strict=True))
    good, bad = (Counter({one: n for (one, side), n in counts.items() if side is of}) for of in (True, False))
    shared = {one: 2 / (1 / good[one] + 1 / bad[one]) for one in good & bad}
    if min(sum(side[one] for one in shared) for side in (good, bad)) < LEAST:
        return None
    return [shared.get(one, 0.0) / counts[one, side] for one, side in zip(strata, liked, strict=True)]


def stratum(chosen: int, rejected: int) -> int:
    """1: the longer one was chosen; -1: the shorter one; 0: they are about equal.

    >>> stratum(40, 10), stratum(10, 40), stratum(30, 31)
    (1, -1, 0)
    """
    if abs(chosen - rejected) <= ALIKE * max(chosen, rejected):
        return 0
    return 1 if chosen > rejected else -1
