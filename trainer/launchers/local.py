"""A training process on this machine; it dies with the worker that started it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

from feedback.config import Settings

LOCKED = 75
"""Exit status of a process that found another one at work in the folder (EX_TEMPFAIL)."""

Task = Literal["run", "evaluate"]


class LocalLauncher:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def start(self, task: Task, folder: Path, attempt: int) -> subprocess.Popen[bytes]:
        """Its output goes to the attempt's train.log; a process group of its own keeps Ctrl-C away from it."""
        output = folder / f"attempt-{attempt}" / "train.log"
        output.parent.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "trainer", task, str(folder), "--attempt", str(attempt)]
        command += ["--models-folder", str(self._settings.models), "--device", self._settings.device]
        with output.open("ab") as log:
            return subprocess.Popen(
                [*command, "--die-with-parent", str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
