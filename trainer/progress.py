"""How far a run is: `metrics.json` for programs, a bar in the terminal for people, lines in the log for later.

`metrics.json` is replaced whole, at most once a second, and survives a restart: seconds and tokens add up over
the processes that worked on an attempt. Leaves out what is measured against the baseline (evaluation.json).
"""

import logging
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from feedback.files import read_json, write_json

log = logging.getLogger("trainer")

SECONDS_BETWEEN_WRITES = 1.0


class RunProgress:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.data: dict[str, Any] = {
            "stage": "load",
            "step": 0,
            "total_steps": 0,
            "epoch": 0.0,
            "loss_history": [],
            "seconds": {},
            "trained_tokens": 0,
            "peak_memory_bytes": 0,
        }
        if path.is_file():
            self.data |= read_json(path)
        self._written = 0.0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._task: Any = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count a stage's seconds, also when it fails."""
        self.data |= {"stage": name, "step": 0, "total_steps": 0}
        before = self.data["seconds"].get(name, 0.0)
        started = time.perf_counter()
        log.info("%s: started", name)
        self._bar.start()
        self._task = self._bar.add_task(name, total=None, note="")
        try:
            yield
        finally:
            self._bar.stop()
            self._bar.remove_task(self._task)
            self.data["seconds"][name] = round(before + time.perf_counter() - started, 3)
            self.write()
        log.info("%s: done in %.1f s", name, self.data["seconds"][name])

    def resume_at(self, stage: str, step: int) -> None:
        """Forget what a killed process noted after the checkpoint that is resumed from."""
        self.data["loss_history"] = [
            entry for entry in self.data["loss_history"] if entry["stage"] != stage or entry["step"] <= step
        ]

    def step(self, step: int, total: int, epoch: float | None = None, note: str = "") -> None:
        self.data |= {"step": step, "total_steps": total}
        if epoch is not None:
            self.data["epoch"] = round(epoch, 4)
        self._bar.update(self._task, completed=step, total=total or None, note=note)
        if time.monotonic() - self._written >= SECONDS_BETWEEN_WRITES:
            self.write()

    def loss(
        self,
        step: int,
        epoch: float,
        *,
        loss: float | None = None,
        dev_loss: float | None = None,
        learning_rate: float | None = None,
    ) -> None:
        stage = self.data["stage"]
        history = self.data["loss_history"]
        if dev_loss is not None:
            log.info("%s: epoch %.0f, dev loss %.4f", stage, epoch, dev_loss)
            if history and (history[-1]["stage"], history[-1]["step"]) == (stage, step):
                history[-1]["dev_loss"] = dev_loss
                return
        history.append(
            {
                "stage": stage,
                "at": round(time.time(), 3),
                "step": step,
                "epoch": round(epoch, 4),
                "loss": loss,
                "dev_loss": dev_loss,
                "learning_rate": learning_rate,
            }
        )

    def tokens(self, count: int) -> None:
        self.data["trained_tokens"] += count

    def write(self) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        self.data["peak_memory_bytes"] = max(peak, self.data["peak_memory_bytes"])
        write_json(self.path, self.data)
        self._written = time.monotonic()
