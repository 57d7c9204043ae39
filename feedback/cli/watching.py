"""Looking at a run, once or until it has ended: one line that moves in a terminal, sparse lines in a pipe, JSON for
programs.

Leaves out what there is to tell (run_report.py).
"""

import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from feedback import run_report, runs
from feedback.cli.app import console, harmless, print_fields, print_json, visible
from feedback.config import Settings
from feedback.database import Database
from feedback.progress import duration
from feedback.run_report import RunDetails, RunReport
from feedback.states import OPEN_RUNS, RunStatus

SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_BETWEEN_LINES = 60.0
"""In a pipe, a stage that goes on for longer says so again."""


def show_run(settings: Settings, database: Database, run_id: str, *, as_json: bool) -> RunStatus:
    with database.read() as session:
        details = run_report.details(session, runs.get_run(session, run_id), settings.runs)
    print_fields(details.model_dump(mode="json") if as_json else _fields(details), as_json)
    return details.status


def follow_run(settings: Settings, database: Database, run_id: str, *, as_json: bool) -> RunStatus:
    """Tell what changes until the run has ended; then all of it. With `as_json` a line for every change."""
    teller = _JsonLines() if as_json else _MovingLine(console) if console.is_terminal else _SparseLines()
    with teller:
        while True:
            with database.read() as session:
                report = run_report.report(session, runs.get_run(session, run_id), settings.runs)
            teller.tell(report)
            if report.status not in OPEN_RUNS:
                break
            time.sleep(SECONDS_BETWEEN_LOOKS)
    return report.status if as_json else show_run(settings, database, run_id, as_json=False)


class _JsonLines:
    def __init__(self) -> None:
        self._told: dict[str, Any] = {}

    def __enter__(self) -> "_JsonLines":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def tell(self, report: RunReport) -> None:
        if report.news() != self._told:
            self._told = report.news()
            print_json(report.model_dump(mode="json"))
            sys.stdout.flush()


class _SparseLines:
    """A line for every change of state or stage, and one a minute."""

    def __init__(self) -> None:
        self._told: tuple[object, ...] = ()
        self._at = 0.0

    def __enter__(self) -> "_SparseLines":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def tell(self, report: RunReport) -> None:
        stage = report.progress.stage if report.progress else None
        news = (report.status, report.attempt, report.waits_for, stage)
        if news != self._told or time.monotonic() - self._at >= SECONDS_BETWEEN_LINES:
            self._told, self._at = news, time.monotonic()
            print(visible(f"{report.id}: {_sentence(report)}"), flush=True)


class _MovingLine:
    def __init__(self, terminal: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.fields[detail]}"))
        self._line = Progress(*columns, console=terminal, transient=True)
        self._task: TaskID = self._line.add_task("", total=None, detail="")

    def __enter__(self) -> "_MovingLine":
        self._line.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._line.stop()

    def tell(self, report: RunReport) -> None:
        progress = report.progress if report.status == RunStatus.RUNNING else None
        self._line.update(
            self._task,
            description=report.id,
            completed=progress.step if progress else 0,
            total=(progress.total_steps or None) if progress else None,
            detail=harmless(_sentence(report)),
        )


def _sentence(report: RunReport) -> str:
    if report.status == RunStatus.QUEUED:
        return f"queued, waits for {report.waits_for}"
    if report.status == RunStatus.RUNNING:
        return f"running, {report.progress or 'the dataset is made'}"
    return f"{report.status}" + (f": {report.error}" if report.error else "")


def _fields(details: RunDetails) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "run": details.id,
        "assistant": details.assistant,
        "status": details.status.value,
        "because": details.reason,
        "attempt": details.attempt,
        "priority": details.priority,
    }
    if details.waits_for is not None:
        fields["waits for"] = details.waits_for
    if details.progress is not None:
        fields["progress"] = str(details.progress)
    if details.error is not None:
        fields["error"] = details.error
    if details.started_at is not None and details.finished_at is not None:
        fields["took"] = duration((details.finished_at - details.started_at).total_seconds())
    if details.version is not None:
        fields |= {"version": details.version, "verdict": details.verdict and details.verdict.value}
    if details.dataset is not None:
        fields["dataset"] = f"v{details.dataset}"
    made = details.provenance
    if made is not None:
        where = made["processes"][-1]
        fields |= {
            "data": f"sha256 {made['dataset_sha256']}",
            "methods": ", ".join(made["methods"]) + f", seed {made['seed']}",
            "hyperparameters": ", ".join(f"{name} {value}" for name, value in made["hyperparameters"].items()),
            "made with": ", ".join(f"{name} {where[name]}" for name in _MADE_WITH if where.get(name)),
            "made on": ", ".join(str(where[name]) for name in ("platform", "device", "dtype")) + _cores(where),
        }
    return fields


_MADE_WITH = ("burnish", "git_commit", "python", "torch", "transformers", "trl", "peft")


def _cores(where: dict[str, Any]) -> str:
    return f", {where['cores']} cores"
