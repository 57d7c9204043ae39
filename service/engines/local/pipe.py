"""The child's end of the pipe to its parent: one JSON object a line, in on stdin, out on stdout.

Promises: nothing but events reaches the parent, whatever a library prints; the process ends when its stdin does, so
that it never outlives its parent, not even one that was killed. Leaves out what commands and events mean. No torch
here, so that all this holds before the heavy imports begin.
"""

import json
import os
import queue
import signal
import sys
import threading
from typing import Any

Command = dict[str, Any]


class Pipe:
    """`commands` fills from stdin; `send` is for one thread only."""

    def __init__(self) -> None:
        for wanted in (signal.SIGINT, signal.SIGTERM):  # they may reach the whole group; the parent decides
            signal.signal(wanted, signal.SIG_IGN)
        self.commands: queue.Queue[Command] = queue.Queue()
        self._output = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)  # prints go to stderr
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, event: dict[str, Any]) -> None:
        try:
            self._output.write(json.dumps(event).encode() + b"\n")
            self._output.flush()
        except BrokenPipeError:
            os._exit(0)  # the parent is gone

    def _read(self) -> None:
        for line in sys.stdin.buffer:
            self.commands.put(json.loads(line))
        os._exit(0)
