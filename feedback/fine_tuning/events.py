"""What a job tells on its way: its events, its checkpoint and its result file, read off its run.

Events aren't stored: each has a number that stays, whenever and however often it is asked, and the run's metrics.json
has the steps. Leaves out whose job it is (jobs.py).
"""

import csv
import io
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from feedback.errors import InvalidInput
from feedback.fine_tuning.models import FineTuningJob
from feedback.models import DatasetVersion, Evaluation, Run
from feedback.progress import dev_looks, read_metrics, read_progress
from feedback.run_folder import attempt_folder
from feedback.states import JobStatus, RunStatus

_DROPS, _STEPS, _END = 10, 1_000, 10**12
"""Numbers from which events of a kind are counted on; two for each step."""
COLUMNS = ("stage", "step", "epoch", "train_loss", "valid_loss", "learning_rate")


@dataclass(frozen=True)
class JobEvent:
    number: int
    at: datetime | float
    message: str
    level: str = "info"
    data: dict[str, Any] | None = None
    """Of an event that is a measurement."""


@dataclass(frozen=True)
class Story:
    """All that there is to tell of a job."""

    job: FineTuningJob
    run: Run | None
    dataset: DatasetVersion | None
    evaluation: Evaluation | None
    model: str | None
    metrics: dict[str, Any]


def metrics_of(runs_folder: Path, run: Run | None) -> dict[str, Any]:
    """{} before the first step, and where the run's folder isn't on this machine."""
    return {} if run is None else read_metrics(attempt_folder(runs_folder / run.id, run.attempt)) or {}


def estimated_finish(runs_folder: Path, run: Run | None) -> int | None:
    """When what a running job is at will be done, in Unix seconds; None before, after, and while its pace isn't known.

    A run knows its present stage's pace: while it trains, judging comes on top.
    """
    if run is None or run.status != RunStatus.RUNNING:
        return None
    told = read_progress(attempt_folder(runs_folder / run.id, run.attempt))
    return None if told is None or told.eta_seconds is None else round(time.time() + told.eta_seconds)


def events(story: Story) -> Iterator[JobEvent]:
    """The oldest first."""
    job, run = story.job, story.run
    yield JobEvent(0, job.created_at, f"Created fine-tuning job: {job.public_id}")
    yield JobEvent(1, job.created_at, f"Validating training file: {job.training_file}")
    if job.validated_at is not None:
        yield JobEvent(2, job.validated_at, "Files validated, moving job to queued state")
    if run is None:
        if job.status == JobStatus.FAILED and job.error is not None and job.finished_at is not None:
            yield JobEvent(_END, job.finished_at, job.error["message"], "error")
        if job.status == JobStatus.CANCELLED and job.finished_at is not None:
            yield JobEvent(_END, job.finished_at, "Fine-tuning job cancelled")
        return
    if run.started_at is not None:
        yield JobEvent(3, run.started_at, "Fine-tuning job started")
    if story.dataset is not None:
        for number, out in enumerate(story.dataset.datasheet.get("dropped", ())):
            message = f"{out['items']} examples left out: {out['reason']}"
            yield JobEvent(_DROPS + number, story.dataset.created_at, message, "warn")
    yield from _steps(story.metrics, run.started_at or run.created_at)
    yield from _end(story, run)


def page(story: Story, *, after: str | None, limit: int) -> tuple[list[JobEvent], bool]:
    """The newest first, those before the event `after`; and whether there are more."""
    before = None if after is None else _number(story.job, after)
    told = [event for event in events(story) if before is None or event.number < before]
    return told[::-1][:limit], len(told) > limit


def event_id(job: FineTuningJob, event: JobEvent) -> str:
    return f"ftevent-{job.public_id.removeprefix('ftjob-')}-{event.number}"


def _number(job: FineTuningJob, name: str) -> int:
    begin, _, number = name.rpartition("-")
    if begin != f"ftevent-{job.public_id.removeprefix('ftjob-')}" or not (number.isascii() and number.isdigit()):
        raise InvalidInput(f"`after` is no event of {job.public_id}: give an event's `id`.", param="after")
    return int(number[:20])


def _steps(metrics: dict[str, Any], started: datetime) -> Iterator[JobEvent]:
    for place, entry in enumerate(metrics.get("loss_history", ())):
        number, at, step = _STEPS + 2 * place, entry.get("at") or started, entry["step"]
        if entry.get("loss") is not None:
            data = {"step": step, "train_loss": entry["loss"]}
            yield JobEvent(number, at, f"Step {step}: training loss={entry['loss']:.4f}", data=data)
        if entry.get("dev_loss") is not None:
            data = {"step": step, "full_valid_loss": entry["dev_loss"]}
            yield JobEvent(number + 1, at, f"Step {step}: full validation loss={entry['dev_loss']:.4f}", data=data)


def _end(story: Story, run: Run) -> Iterator[JobEvent]:
    at = run.finished_at or run.created_at
    if run.status == RunStatus.SUCCEEDED:
        if story.evaluation is not None:
            verdict = f"Judged against what serves: {story.evaluation.verdict}. {' '.join(story.evaluation.reasons)}"
            yield JobEvent(_END, at, verdict)
        yield JobEvent(_END + 1, at, f"New fine-tuned model created: {story.model}")
        yield JobEvent(_END + 2, at, "The job has successfully completed")
    elif run.status == RunStatus.FAILED:
        yield JobEvent(_END, at, run.error or "The run failed.", "error")
    elif run.status == RunStatus.CANCELLED:
        yield JobEvent(_END, at, "Fine-tuning job cancelled")


def kept_step(metrics: dict[str, Any]) -> dict[str, Any] | None:
    """The step whose weights became the version: of the last method the one with the least dev loss, else its last.

    >>> sft = [{"stage": "sft", "step": step, "dev_loss": loss} for step, loss in ((0, 1.0), (3, 1.2), (6, 1.4))]
    >>> kept_step({"loss_history": sft})
    {'stage': 'sft', 'step': 3, 'dev_loss': 1.2}
    >>> kept_step({"loss_history": [*sft, {"stage": "dpo", "step": 9, "dev_loss": 1.3}]})
    {'stage': 'dpo', 'step': 9, 'dev_loss': 1.3}
    """
    history = list(metrics.get("loss_history", ()))
    if not history:
        return None
    last = [entry for entry in history if entry["stage"] == history[-1]["stage"]]
    return min(dev_looks(last), key=lambda entry: float(entry["dev_loss"]), default=last[-1])


def results_csv(metrics: dict[str, Any]) -> bytes:
    """The steps as a table.

    >>> results_csv({"loss_history": [{"stage": "sft", "step": 1, "epoch": 0.5, "loss": 2.0, "learning_rate": 0.1}]})
    b'stage,step,epoch,train_loss,valid_loss,learning_rate\\r\\nsft,1,0.5,2.0,,0.1\\r\\n'
    """
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(COLUMNS)
    for entry in metrics.get("loss_history", ()):
        told = {**entry, "train_loss": entry.get("loss"), "valid_loss": entry.get("dev_loss")}
        writer.writerow([told.get(name) for name in COLUMNS])
    return table.getvalue().encode()
