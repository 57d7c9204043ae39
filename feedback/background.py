"""What goes on in a thread of its own for as long as a `with` block runs.

Promises that leaving the block asks it to end and waits a little; a thread that hangs (in a database that is away, say)
dies with the process. Leaves out what goes on.
"""

import threading
from types import TracebackType
from typing import Self


class Background:
    """A subclass has `_go_on`, which ends soon after `_over` is set."""

    def __init__(self, name: str, *, wait_seconds: float) -> None:
        self._wait_seconds = wait_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(self._wait_seconds)

    def _go_on(self) -> None:
        raise NotImplementedError
