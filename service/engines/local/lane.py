"""Work that requests need before they can run, in a thread beside the one that steps; keys take turns.

Promises: a request that is `dropped` before its turn costs nothing more. Leaves out what is done (`worker`).
"""

import threading
from collections.abc import Callable

from service.engines.local.pipe import Command
from service.engines.local.waiting import Waiting


class Lane:
    """Calls `work` with one command after the other."""

    def __init__(self, name: str, work: Callable[[Command], None]) -> None:
        self._work = work
        self._waiting: Waiting[Command] = Waiting()
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def add(self, command: Command) -> None:
        with self._changed:
            self._waiting.add(command, command["key"])
            self._changed.notify()

    def drop(self, id: int) -> None:
        """Forget a command that waits; unknown ids are ignored."""
        with self._changed:
            self._waiting.remove(lambda command: command["id"] == id)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: len(self._waiting))
                command = self._waiting.next({})
            assert command is not None
            self._work(command)
