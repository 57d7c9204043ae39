"""How far a run is: `metrics.json` for programs, a bar in the terminal for people, lines in the log and event files
for TensorBoard for later.

`metrics.json` is replaced whole, at most once a second, and survives a restart: seconds and tokens add up over
the processes that worked on an attempt. Leaves out what is measured against the baseline (evaluation.json).
"""

import logging
import resource
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from feedback.files import read_json, write_json
from trainer.tensorboard import EventFiles

log = logging.getLogger("trainer")

SECONDS_BETWEEN_WRITES = 1.0
STEPS_OF_A_RATE = 20
"""Tokens a second are taken over so many steps."""


class RunProgress:
    def __init__(self, path: Path, *, silent: bool = False) -> None:
        """`silent`: writes and shows nothing, in a process beside the one that does."""
        self.path = path
        self._silent = silent
        self.data: dict[str, Any] = {
            "stage": "load",
            "step": 0,
            "total_steps": 0,
            "epoch": 0.0,
            "loss_history": [],
            "seconds": {},
            "tokens": {},
            "trained_tokens": 0,
            "peak_memory_bytes": 0,
            "out_of_memory": [],
            "eta_seconds": None,
            "tokens_per_second": None,
        }
        if path.is_file():
            self.data |= read_json(path)
        self._written = 0.0
        self._began: tuple[float, int] | None = None
        self._counts: deque[tuple[float, float]] = deque(maxlen=STEPS_OF_A_RATE + 1)
        self._events = EventFiles(path.parent / "tensorboard")
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
            disable=silent or not sys.stderr.isatty(),
        )
        self._task: Any = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count a stage's seconds, also when it fails."""
        self.data |= {"stage": name, "step": 0, "total_steps": 0, "eta_seconds": None, "tokens_per_second": None}
        self._began = None
        self._counts.clear()
        self.write()
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
            self._events.close()
            self.data |= {"eta_seconds": None, "tokens_per_second": None}
            self.data["seconds"][name] = round(before + time.perf_counter() - started, 3)
            self.write()
        log.info("%s: done in %.1f s", name, self.data["seconds"][name])

    def resume_at(self, stage: str, step: int) -> None:
        """Forget what a killed process noted after the checkpoint that is resumed from."""
        self.data["loss_history"] = [
            entry for entry in self.data["loss_history"] if entry["stage"] != stage or entry["step"] <= step
        ]
        if not self._silent:
            self._events.open(stage, after_step=step)

    def step(self, step: int, total: int, epoch: float | None = None, note: str = "") -> None:
        self.data |= {"step": step, "total_steps": total}
        if epoch is not None:
            self.data["epoch"] = round(epoch, 4)
        self._estimate(step, total)
        self._bar.update(self._task, completed=step, total=total or None, note=note)
        if time.monotonic() - self._written >= SECONDS_BETWEEN_WRITES:
            self.write()

    def loss(
        self,
        step: int,
        epoch: float,
        *,
        loss: float | None = None,
        replay_divergence: float | None = None,
        dev_loss: float | None = None,
        learning_rate: float | None = None,
        grad_norm: float | None = None,
        num_tokens: float | None = None,
    ) -> None:
        """`loss` is the rows' own. Beside it SFT trains for `replay_divergence`, how far the adapter has moved from the
        base on this step's replayed texts, in nats a token; None in a step without any.

        `num_tokens`: trained on since the process began.
        """
        stage = self.data["stage"]
        history = self.data["loss_history"]
        if num_tokens is not None:
            self._count(num_tokens)
        rate = self.data["tokens_per_second"] if num_tokens is not None else None
        self._events.write(
            step,
            {
                "train/loss": loss,
                "train/replay_divergence": replay_divergence,
                "eval/loss": dev_loss,
                "train/learning_rate": learning_rate,
                "train/grad_norm": grad_norm,
                "train/tokens_per_second": rate,
            },
        )
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
                "replay_divergence": replay_divergence,
                "dev_loss": dev_loss,
                "learning_rate": learning_rate,
                "grad_norm": grad_norm,
            }
        )

    def tokens(self, count: int) -> None:
        """So many in this stage, over all its processes."""
        self.data["tokens"][self.data["stage"]] = count
        self.data["trained_tokens"] = sum(self.data["tokens"].values())
        self.write()

    def ran_out_of_memory(self) -> None:
        """Where it was; the next process takes half as many rows at once for each time."""
        self.data["out_of_memory"].append({"stage": self.data["stage"], "step": self.data["step"]})
        self.write()

    def _estimate(self, step: int, total: int) -> None:
        """When the stage is done, from the steps since its first in this process, which takes longer."""
        at = time.monotonic()
        if self._began is None or step < self._began[1]:
            self._began = (at, step)
        elif step > self._began[1]:
            pace = (at - self._began[0]) / (step - self._began[1])
            self.data["eta_seconds"] = round(pace * max(0, total - step), 1)

    def _count(self, num_tokens: float) -> None:
        self._counts.append((time.monotonic(), num_tokens))
        (since, before), (at, now) = self._counts[0], self._counts[-1]
        if at > since:
            self.data["tokens_per_second"] = round((now - before) / (at - since), 1)

    def write(self) -> None:
        if self._silent:
            return
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        self.data["peak_memory_bytes"] = max(peak, self.data["peak_memory_bytes"])
        self.data["written_at"] = time.time()
        write_json(self.path, self.data)
        self._written = time.monotonic()
