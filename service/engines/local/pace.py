"""How much of the waiting prompts a step may read, by what steps took so far.

Promises: while replies are written, reading makes a step about twice as long at most, so that nobody's next token is
late by much; with nobody writing it reads in large pieces. Leaves out what is read.
"""

MOST_TOKENS = 512
"""What a step reads when nobody waits for a token."""

FEWEST_TOKENS = 16
STRETCH = 1.0
"""How many times a plain step's duration reading may add to it."""

MEMORY = 0.2
"""How much a new observation counts against all before it."""


class Pace:
    """Two moving averages: seconds of a step that only writes, and of a token read beside it."""

    def __init__(self) -> None:
        self._write_seconds = 0.0
        self._read_seconds = 0.0  # a token

    def reading_tokens(self, writing: int) -> int:
        """How many prompt tokens to read beside `writing` replies."""
        if not writing:
            return MOST_TOKENS
        if not self._write_seconds or not self._read_seconds:
            return 4 * FEWEST_TOKENS
        allowed = int(STRETCH * self._write_seconds / self._read_seconds)
        return max(FEWEST_TOKENS, min(MOST_TOKENS, allowed))

    def took(self, seconds: float, writing: int, read: int) -> None:
        """A step with so many replies and prompt tokens took `seconds`."""
        if read and (not writing or self._write_seconds):
            spent = max(seconds - self._write_seconds * bool(writing), 0.0)
            self._read_seconds = _mixed(self._read_seconds, spent / read)
        elif writing and not read:
            self._write_seconds = _mixed(self._write_seconds, seconds)


def _mixed(average: float, value: float) -> float:
    return value if not average else average + MEMORY * (value - average)
