"""Who may come in, so that a wait stays short and one key leaves room for the others.

Promises: no more replies are under way at a time, running and waiting together, than there are places; who is refused
hears it before any work was done. A key may hold up to three times as many places as are free: alone three quarters
of them, of two that go on asking three sevenths each; a place that is free is open to whoever has none (Choudhury and
Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches", 1998). The refused are told when half of
those who are in will have left, at the present pace. Leaves out in what order those who are in are served: that is
the engine's.
"""

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from feedback.errors import InvalidInput, QueueFull

HELD_FOR_EACH_FREE = 3
PACE_REPLIES = 32
"""The pace is that of the last ones to leave, this many at most."""
UNKNOWN_PACE_SECONDS = 5
"""What the refused are told while nobody has left yet."""
LONGEST_RETRY_SECONDS = 60
"""openai-python ignores a Retry-After above it."""


class Admission:
    """`places`: replies that may be under way at a time."""

    def __init__(self, places: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._places = places
        self._most_at_once = max(1, math.ceil(places * HELD_FOR_EACH_FREE / (HELD_FOR_EACH_FREE + 1)))
        self._clock = clock
        self._held: Counter[str] = Counter()
        self._times: deque[float] = deque(maxlen=PACE_REPLIES + 1)  # since when any are in, and when the last left

    def __len__(self) -> int:
        return self._held.total()

    @contextmanager
    def places(self, key: str, replies: int) -> Iterator[None]:
        """So many places for as long as the context is open. Raises QueueFull, and InvalidInput for more than there
        ever are for one request."""
        self._check(key, replies)
        if not len(self):
            self._times = deque([self._clock()], self._times.maxlen)
        self._held[key] += replies
        try:
            yield
        finally:
            self._held -= Counter({key: replies})  # forgets a key that holds none: keys come and go
            self._times.extend([self._clock()] * replies)

    def _check(self, key: str, replies: int) -> None:
        if replies > self._most_at_once:
            raise InvalidInput(
                f"`n` is {replies}, and the {self._places} places here never let in more than {self._most_at_once} "
                "replies of one request: ask for fewer, or have BURNISH_MAX_BATCH or BURNISH_MAX_QUEUE raised.",
                param="n",
            )
        others = replies - 1  # that come in before the last one
        free = self._places - len(self) - others
        if free <= 0:
            seconds = self._seconds_until_half_have_left()
            raise QueueFull(
                f"{len(self)} replies are running or waiting, and more would wait too long. "
                f"Try again in {seconds} seconds.",
                retry_after_seconds=seconds,
            )
        if self._held[key] + others >= HELD_FOR_EACH_FREE * free:
            seconds = self._seconds_until_half_have_left()
            raise QueueFull(
                f"This key has {self._held[key]} replies running or waiting, its share; the room that is left is for "
                f"other keys. Wait for some to end, or try again in {seconds} seconds.",
                code="rate_limit_exceeded",
                retry_after_seconds=seconds,
            )

    def _seconds_until_half_have_left(self) -> int:
        left = len(self._times) - 1
        if left < 1:
            return UNKNOWN_PACE_SECONDS
        seconds_each = (self._clock() - self._times[0]) / left
        return min(max(math.ceil(len(self) / 2 * seconds_each), 1), LONGEST_RETRY_SECONDS)
