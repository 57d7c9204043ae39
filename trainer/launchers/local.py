"""A training process on this machine; it dies with the worker that started it."""

import os
import subprocess
from pathlib import Path

from feedback.config import Settings
from feedback.processes import TrainerTask, trainer_command


class LocalLauncher:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def start(self, task: TrainerTask, folder: Path, attempt: int) -> subprocess.Popen[bytes]:
        """Its output goes to the attempt's train.log; a process group of its own keeps Ctrl-C away from it."""
        output = folder / f"attempt-{attempt}" / "train.log"
        output.parent.mkdir(exist_ok=True)
        command = trainer_command(self._settings, task, folder, attempt)
        with output.open("ab") as log:
            return subprocess.Popen(
                [*command, "--die-with-parent", str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
