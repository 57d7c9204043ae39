"""How much of the waiting prompts a step may read, by what steps took so far.

Promises: while replies are written, reading makes a step a little more than twice as long, so that nobody's next token
is late by much; no step that reads is long, so that who comes or goes meanwhile waits little. Leaves out what is
read.
"""

from collections import deque
from statistics import median

FEWEST_TOKENS = 16
FIRST_TOKENS = 128
"""What is read before anything is known."""

STRETCH = 1.2
"""How many times a step's duration reading may add to it."""

LONGEST_SECONDS = 0.15
"""What a step's reading may take when nobody waits for a token."""

REMEMBERED = 9
"""Observations of which the median counts: one that something else on the machine disturbed must not."""


class Pace:
    """Seconds of a step that only writes, by the number of replies, and of a token read."""

    def __init__(self) -> None:
        self._write_seconds: dict[int, deque[float]] = {}
        self._read_seconds: deque[float] = deque(maxlen=REMEMBERED)

    def reading_tokens(self, writing: int) -> int:
        """How many prompt tokens to read beside `writing` replies: none until a step has shown what writing takes."""
        if writing and not self._write_seconds:
            return 0
        if not self._read_seconds:
            return FIRST_TOKENS
        seconds = LONGEST_SECONDS
        if writing:
            seconds = min(seconds, STRETCH * self._expected(writing))
        return max(FEWEST_TOKENS, int(seconds / median(self._read_seconds)))

    def took(self, seconds: float, writing: int, read: int) -> None:
        """A step with so many replies and prompt tokens took `seconds`."""
        if read:
            spent = max(seconds - self._expected(max(writing, 1)), 0.1 * seconds)  # the weights are read in any case
            self._read_seconds.append(spent / read)
        elif writing:
            self._write_seconds.setdefault(writing, deque(maxlen=REMEMBERED)).append(seconds)

    def _expected(self, writing: int) -> float:
        """A plain step's seconds, by the nearest number of replies seen."""
        if not self._write_seconds:
            return 0.0
        nearest = min(self._write_seconds, key=lambda count: abs(count - writing))
        return median(self._write_seconds[nearest])
