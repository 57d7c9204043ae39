"""TensorBoard's event files, a folder a stage: `tensorboard --logdir runs/RUN_ID/attempt-1/tensorboard`.

Promises numbers alone, under the tags that transformers gives them; after a resume, steps that a killed process had
written beyond its last checkpoint count no more. Leaves out showing them: TensorBoard is installed separately.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SECONDS_BETWEEN_FLUSHES = 10


class EventFiles:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def open(self, stage: str, *, after_step: int) -> None:
        """Begin, or go on, with a stage's."""
        from tensorboardX import SummaryWriter

        self.close()
        self._writer = SummaryWriter(
            logdir=str(self._folder / stage),
            purge_step=after_step + 1,
            flush_secs=SECONDS_BETWEEN_FLUSHES,
            filename_suffix=f".{time.time_ns()}",  # their names tell seconds alone, and files are read in their order
        )

    def write(self, step: int, scalars: Mapping[str, float | None]) -> None:
        if self._writer is None:
            return
        for tag, value in scalars.items():
            if value is not None:
                self._writer.add_scalar(tag, value, step)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
