"""Choices without their lengths: so that a candidate isn't better for having learned "shorter", or "longer".

Where people chose the longer reply and where they chose the shorter one count alike, however many there are of each; a
candidate that learned a length alone gains in one what it loses in the other.
"""

from collections.abc import Sequence

ALIKE = 0.1
"""Lengths that differ by less than this share of the longer one count as equal."""
MOST_WEIGHT = 5.0
"""A handful of pairs mustn't stand for a hundred: their weight ends here, and the balance with it."""


def balanced(lengths: Sequence[tuple[int, int]]) -> list[float]:
    """A weight for each pair of (chosen, rejected) lengths; those of about equal length count 1.

    >>> balanced([(10, 40), (10, 40), (10, 40), (40, 10), (30, 31)])
    [0.6666666666666666, 0.6666666666666666, 0.6666666666666666, 2.0, 1.0]
    >>> balanced([(10, 40), (30, 31)])  # nothing to balance it with
    [1.0, 1.0]
    """
    strata = [_stratum(chosen, rejected) for chosen, rejected in lengths]
    longer, shorter = strata.count(1), strata.count(-1)
    if not longer or not shorter:
        return [1.0] * len(strata)
    half = (longer + shorter) / 2
    weights = {0: 1.0, 1: min(MOST_WEIGHT, half / longer), -1: min(MOST_WEIGHT, half / shorter)}
    return [weights[stratum] for stratum in strata]


def _stratum(chosen: int, rejected: int) -> int:
    if abs(chosen - rejected) <= ALIKE * max(chosen, rejected):
        return 0
    return 1 if chosen > rejected else -1
