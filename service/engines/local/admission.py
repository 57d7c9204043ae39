"""Who may come in, so that a wait stays short and one key leaves room for the others.

Promises: no more requests are in at a time, running and waiting together, than there are places. A key may hold up to
three times as many places as are free: alone three quarters of them, of two that go on asking three sevenths each; a
place that is free is open to whoever has none (Choudhury and Hahne, "Dynamic Queue Length Thresholds for
Shared-Memory Packet Switches", 1998). Who is refused is told when half of those who are in will have left, at the
present pace. Leaves out in what order those who are in are served (`waiting`).
"""

import math
import time
from collections import Counter, deque
from collections.abc import Callable

from feedback.errors import QueueFull

HELD_FOR_EACH_FREE = 3
PACE_REQUESTS = 32
"""The pace is that of the last ones to leave, this many at most."""
UNKNOWN_PACE_SECONDS = 5.0
"""What a refused request is told while nobody has left yet."""
LONGEST_RETRY_SECONDS = 60
"""openai-python ignores a Retry-After above it."""


class Admission:
    """`places`: requests that may be in at a time."""

    def __init__(self, places: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._places = places
        self._clock = clock
        self._held: Counter[str] = Counter()
        self._times: deque[float] = deque(maxlen=PACE_REQUESTS + 1)  # since when any are in, and when the last left

    def __len__(self) -> int:
        return self._held.total()

    def enter(self, key: str) -> None:
        """Take a place, to be given back with `leave`. Raises QueueFull."""
        self._check(key)
        if not len(self):
            self._times.clear()
            self._times.append(self._clock())
        self._held[key] += 1

    def leave(self, key: str) -> None:
        self._held -= Counter([key])  # drops what falls to zero: keys come and go
        self._times.append(self._clock())

    def _check(self, key: str) -> None:
        free = self._places - len(self)
        seconds = self._seconds_until_half_have_left()
        if free == 0:
            raise QueueFull(
                f"{len(self)} requests are running or waiting, and more would wait too long. "
                f"Try again in {seconds} seconds.",
                retry_after_seconds=seconds,
            )
        if self._held[key] >= HELD_FOR_EACH_FREE * free:
            raise QueueFull(
                f"This key has {self._held[key]} requests running or waiting, its share; the room that is left is for "
                f"other keys. Wait for one of them to end, or try again in {seconds} seconds.",
                code="rate_limit_exceeded",
                retry_after_seconds=seconds,
            )

    def _seconds_until_half_have_left(self) -> int:
        left = len(self._times) - 1
        if left < 1:
            return math.ceil(UNKNOWN_PACE_SECONDS)
        seconds_each = (self._clock() - self._times[0]) / left
        return min(max(math.ceil(len(self) / 2 * seconds_each), 1), LONGEST_RETRY_SECONDS)
