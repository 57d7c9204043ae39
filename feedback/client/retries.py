"""When a call that failed is tried again, and after how long: a pure decision. Leaves out waiting (senders.py).

Tried again is what can't have been done (no connection; 429 and 503, which Burnish says before it begins) and, where
doing it twice is doing it once (`Call.repeatable`), what may have been: an answer that broke off, a proxy's 502 or 504.
"""

import random
from dataclasses import dataclass

from feedback.client.errors import BurnishError, NotReached, Refused

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 8.0
LONGEST_RETRY_AFTER_SECONDS = 60.0
"""Whoever is told to come back later than that is told so, rather than left waiting."""
NOT_BEGUN = (429, 503)
MAYBE_DONE = (502, 504)


@dataclass(frozen=True)
class Retries:
    most: int = 2

    def pause_seconds(self, error: BurnishError, tried: int, *, repeatable: bool) -> float | None:
        """How long to wait after the `tried`th try; None: don't try again.

        >>> from feedback.client.errors import TooManyRequests, TimedOut
        >>> busy = TooManyRequests("Full.", retry_after_seconds=2)
        >>> 2 <= Retries(2).pause_seconds(busy, 1, repeatable=False) <= 2.5, Retries(2).pause_seconds(
        ...     busy, 3, repeatable=False
        ... )
        (True, None)
        >>> Retries(2).pause_seconds(TimedOut("Too long.", should_retry=False), 1, repeatable=True)
        >>> Retries(2).pause_seconds(NotReached("Broke off."), 1, repeatable=False)
        """
        if tried > self.most or not _is_worth_it(error, repeatable):
            return None
        asked = error.retry_after_seconds if isinstance(error, Refused) else None
        if asked is not None:
            spread = random.uniform(0, min(0.5, asked / 4))  # noqa: S311 (so that not all come back at once)
            return asked + spread if asked <= LONGEST_RETRY_AFTER_SECONDS else None
        longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** (tried - 1))
        return longest * random.uniform(0.75, 1)  # noqa: S311


def _is_worth_it(error: BurnishError, repeatable: bool) -> bool:
    if isinstance(error, NotReached):
        return repeatable or not error.sent
    if isinstance(error, Refused) and error.should_retry:
        return error.status in NOT_BEGUN or (repeatable and error.status in MAYBE_DONE)
    return False
