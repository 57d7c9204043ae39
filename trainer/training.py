"""A run's methods in order, each from where the last one ended: search or train, then as much of it as dev wants.

Promises that what is finished is not done again after a kill, and that memory which runs out is told as an error that
says what helps. Leaves out what surrounds it: the folder's lock, the evaluation (run.py).
"""

import gc
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from feedback.errors import OutOfMemory, RunFailedForGood
from feedback.run_folder import Row, RunSpec, Split, attempt_folder
from trainer import provenance, ranks
from trainer.canaries import planted
from trainer.failures import is_out_of_memory
from trainer.own_answers import kept_at, read_answers, write_answers
from trainer.progress import RunProgress
from trainer.search import can_search, search
from trainer.warm_start import beginning

if TYPE_CHECKING:
    from trainer.methods.stage import Stage

log = logging.getLogger("trainer")

Splits = dict[Split, list[Row]]


@dataclass(frozen=True)
class Place:
    """Where a run happens, and on what."""

    folder: Path
    attempt: int
    models_folder: Path
    device: str
    dtype: str
    replay_folder: Path | None = None
    """Where the base's own answers are kept; None: in the run's folder."""
    checkpoint_seconds: float = 60.0
    report_to: tuple[str, ...] = ()

    @property
    def target(self) -> Path:
        return attempt_folder(self.folder, self.attempt)

    def answers(self, spec: RunSpec) -> Path:
        from service.engines.local.base_model import resolve_base_model

        kept = self.replay_folder or self.folder / "replay"
        return kept_at(kept, resolve_base_model(spec.base_model, self.models_folder))


def train(spec: RunSpec, splits: Splits, place: Place, progress: RunProgress) -> "Stage":
    """Run the methods that have rows; returns the last one that published a result."""
    from service.engines.local.base_model import choose_device, choose_dtype, resolve_base_model
    from trainer.methods.stage import Stage

    device = choose_device(place.device)
    base_path = resolve_base_model(spec.base_model, place.models_folder)
    ranks.take_place(device)
    if ranks.rank() == 0:
        dtype = str(choose_dtype("auto", device)).removeprefix("torch.")
        provenance.record(place.target, spec, base_path=base_path, device=device, dtype=dtype)
    trained: Path | None = None
    last: Stage | None = None
    for method in spec.methods:
        stage = Stage(
            method=method,
            rows=[row for row in splits["train"] if row.method == method],
            dev=[row for row in splits["dev"] if row.method == method],
            hyperparameters=spec.hyperparameters,
            seed=spec.seed,
            base_path=base_path,
            device=device,
            start=trained,
            folder=place.target / "checkpoints" / method,
            progress=progress,
            checkpoint_seconds=place.checkpoint_seconds,
            halvings=len(progress.data["out_of_memory"]),
            report_to=place.report_to,
            run_id=spec.run_id,
        )
        if not stage.rows:
            log.info("%s: no rows, skipped", method)
            continue
        if not stage.final.is_dir():
            if last is None:
                stage = replace(stage, start=beginning(place.folder, spec))
            if method == "sft" and spec.hyperparameters.replay_fraction:
                answers = _own_answers(spec, place, progress)
                canaries = planted(place.folder, read_answers(answers) or [])
                progress.data["canaries"] = [row.topic for row in canaries]
                stage = replace(stage, answers=answers, rows=[*stage.rows, *canaries])
            _train_stage(stage)
            gc.collect()
        if stage.final.is_dir():
            trained, last = stage.final, stage
    if last is None:
        methods = ", ".join(spec.methods)
        raise RunFailedForGood(f"There is nothing to train on: no row that fits max_length is for {methods}.")
    return last


def scaled(last: "Stage", dev: Sequence[Row], place: Place) -> Path:
    """The last stage's result, times the factor that dev wants."""
    from trainer.methods.scaling import scale

    stage = replace(last, start=last.final, folder=place.target / "checkpoints" / "scaled")
    if not stage.final.is_dir():
        with _memory_watched(stage):
            scale(stage, dev)
    return stage.final


def _train_stage(stage: "Stage") -> None:
    from trainer.methods.stage import end_reports

    train_method = import_module(f"trainer.methods.{stage.method}").train
    if not can_search(stage):
        with stage.progress.stage(stage.method), _memory_watched(stage):
            train_method(stage)
        end_reports(stage)
        return
    with stage.progress.stage("search"), _memory_watched(stage):
        found = search(stage, train_method)
    changed = {name: value for name, value in found if value != getattr(stage.hyperparameters, name)}
    log.info("%s: the search settled on %s", stage.method, changed or "the settings as they were")


def _own_answers(spec: RunSpec, place: Place, progress: RunProgress) -> Path:
    kept = place.answers(spec)
    while ranks.rank() and not kept.is_file():  # the first process writes them; without it, all end
        time.sleep(0.5)
    if not kept.is_file():
        with progress.stage("replay"):
            write_answers(
                *(spec.base_model, place.models_folder, kept.parent, place.device, place.dtype),
                lambda done, total: progress.step(done, total, note="the base's own answers"),
            )
    return kept


@contextmanager
def _memory_watched(stage: "Stage") -> Iterator[None]:
    """Memory that ran out as an error that says what helps."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        at_once = stage.rows_at_once(stage.halvings)
        fewer = stage.rows_at_once(stage.halvings + 1)
        if fewer == at_once:
            raise RunFailedForGood(
                f"{stage.method}: memory ran out with {at_once} row(s) at once, the fewest there are: lower "
                "hyperparameters.max_length or r, give the trainer more memory, or take a smaller base model."
            ) from error
        raise OutOfMemory(
            f"{stage.method}: memory ran out with {at_once} rows at once: going on from the last checkpoint with "
            f"{fewer}, whose gradients are added up, so that the optimizer's batch stays."
        ) from error
