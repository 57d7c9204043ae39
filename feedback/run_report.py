"""What a run looks like from outside: its state, what it waits for, how far it is, what it came to, made where.

Progress and provenance lie in the run's folder; where that isn't shared with whoever asks, they are left out. Leaves
out the states' transitions (runs.py).
"""

from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from sqlalchemy import func, or_
from sqlmodel import Session, col, select

from feedback import workers
from feedback.columns import now
from feedback.curves import Training, training
from feedback.models import AdapterVersion, Assistant, DatasetVersion, Evaluation, Run
from feedback.progress import Progress, read_metrics, read_progress, read_provenance
from feedback.run_folder import attempt_folder
from feedback.states import RunStatus, VerdictWord


class RunReport(BaseModel):
    id: str
    assistant: str
    status: RunStatus
    reason: str
    requested_by: str
    priority: int
    search_trials: int | None
    """Asked of this run; None: as the assistant's hyperparameters say."""
    base_model: str | None
    """The one to move to; None: the assistant's."""
    attempt: int
    waits_for: str | None
    """Queued: what has to happen before it begins."""
    error: str | None
    """Of its last failed attempt."""
    dataset: int | None
    version: str | None
    verdict: VerdictWord | None
    progress: Progress | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def took_seconds(self) -> float | None:
        """From its first begin to its end."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()

    def news(self) -> dict[str, Any]:
        """What is worth telling when it changes: all but the time that goes by."""
        return self.model_dump(mode="json", exclude={"progress": {"eta_seconds"}})


class RunDetails(RunReport):
    provenance: dict[str, Any] | None
    """What its newest attempt was made of and where it runs: provenance.json."""


def report(session: Session, run: Run, runs_folder: Path) -> RunReport:
    dataset = session.get(DatasetVersion, run.dataset_version_id) if run.dataset_version_id else None
    version = session.exec(select(AdapterVersion).where(AdapterVersion.run_id == run.id)).first()
    judged = select(Evaluation.verdict).where(Evaluation.run_id == run.id).order_by(col(Evaluation.id).desc())
    name = session.get_one(Assistant, run.assistant_id).name
    return RunReport(
        id=run.id,
        assistant=name,
        status=run.status,
        reason=run.reason,
        requested_by=run.requested_by,
        priority=run.priority,
        search_trials=run.search_trials,
        base_model=run.base_model,
        attempt=run.attempt,
        waits_for=waits_for(session, run) if run.status == RunStatus.QUEUED else None,
        error=run.error,
        dataset=dataset.number if dataset else None,
        version=f"{name}@{version.number}" if version else None,
        verdict=session.exec(judged.limit(1)).first(),
        progress=read_progress(attempt_folder(runs_folder / run.id, run.attempt), going=_goes_on(run)),
        created_at=run.created_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
    )


def details(session: Session, run: Run, runs_folder: Path) -> RunDetails:
    made = read_provenance(attempt_folder(runs_folder / run.id, run.attempt))
    return RunDetails(**dict(report(session, run, runs_folder)), provenance=made)


def training_of(run: Run, runs_folder: Path) -> Training:
    """How its newest attempt's training goes, or went."""
    return training(read_metrics(attempt_folder(runs_folder / run.id, run.attempt)))


def last_took(session: Session, assistant: Assistant) -> float | None:
    """Seconds from begin to end of the assistant's newest run that succeeded: how long the next may take."""
    chosen = select(Run).where(Run.assistant_id == assistant.id, Run.status == RunStatus.SUCCEEDED)
    run = session.exec(chosen.order_by(col(Run.created_at).desc()).limit(1)).first()
    if run is None or run.started_at is None or run.finished_at is None:
        return None
    return (run.finished_at - run.started_at).total_seconds()


def waits_for(session: Session, run: Run) -> str:
    """What a queued run waits for, the hardest first. Tells nothing of other assistants but how many runs they have."""
    if not workers.is_any_there(session):
        seen = workers.last_seen(session)
        since = f"since {seen:%Y-%m-%d %H:%M:%S} UTC" if seen else "lately"
        return f"a worker: none was seen {since} (`burnish up` or `burnish worker` starts one)"
    if run.not_before > now():
        return f"its next attempt, at {run.not_before:%H:%M:%S} UTC, after a failed one"
    ahead = _ahead(session, run)
    if ahead:
        return f"{ahead} other {'run' if ahead == 1 else 'runs'}, under way or ahead of it"
    return "a worker, which takes it at once"


def _ahead(session: Session, run: Run) -> int:
    earlier = (col(Run.priority) > run.priority) | (
        (col(Run.priority) == run.priority) & (col(Run.created_at) < run.created_at)
    )
    queued = (col(Run.status) == RunStatus.QUEUED) & (col(Run.not_before) <= now()) & earlier
    counted = select(func.count()).select_from(Run).where(or_(queued, col(Run.status) == RunStatus.RUNNING))
    return session.exec(counted).one()


def _goes_on(run: Run) -> bool:
    return run.status == RunStatus.RUNNING
