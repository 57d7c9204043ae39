"""Choices without their lengths: so that a candidate isn't better for having learned "shorter", or "longer".

Where people chose the longer reply and where they chose the shorter one count alike, however many there are of each; a
candidate that learned a length alone gains in one what it loses in the other. Where nearly all went one way, that can't
be told from having learned it: then choices don't decide.
"""

from collections.abc import Sequence

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


def stratum(chosen: int, rejected: int) -> int:
    """1: the longer one was chosen; -1: the shorter one; 0: they are about equal.

    >>> stratum(40, 10), stratum(10, 40), stratum(30, 31)
    (1, -1, 0)
    """
    if abs(chosen - rejected) <= ALIKE * max(chosen, rejected):
        return 0
    return 1 if chosen > rejected else -1
