"""The run queue, on the database: request, claim, heartbeat, fail, finish, cancel, retry.

A worker holds a run by a lease that it renews; every write carries the lease's token, so a worker that was taken
over can write nothing (fencing). Taking over is no failed attempt, but for a run that has no dataset yet: that one is
made in the worker, and may be what ended it. All transitions of a run's status are here.
Leaves out when a run becomes due by itself (due.py) and what it looks like from outside (run_report.py).
"""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, case, func, or_, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from feedback import assistants, audit
from feedback.columns import now
from feedback.database import Database
from feedback.errors import Conflict, InvalidInput, LeaseLost, NotFound
from feedback.hyperparameters import MOST_SEARCH_TRIALS, Hyperparameters
from feedback.models import Assistant, DatasetVersion, Evaluation, Run
from feedback.states import OPEN_RUNS, RunStatus
from feedback.webhooks import hooks

MAX_ATTEMPTS = 3
RETRY_SECONDS = (5.0, 30.0)
"""Wait before the second and the third attempt."""
MOST_PRIORITY = 1000
RETRIABLE = (RunStatus.FAILED, RunStatus.CANCELLED)


@dataclass(frozen=True)
class Claim:
    """A worker's hold on a run."""

    run_id: str
    lease_token: str
    attempt: int
    lease_seconds: float
    attempts_before: int = 0

    @property
    def tries(self) -> int:
        """Attempts since it was requested, or retried by hand."""
        return self.attempt - self.attempts_before

    @property
    def is_last(self) -> bool:
        return self.tries >= MAX_ATTEMPTS


def request(
    session: Session,
    assistant: Assistant,
    reason: str,
    *,
    actor: str,
    priority: int = 0,
    search_trials: int | None = None,
    base_model: str | None = None,
) -> Run:
    """Queue a run. Raises Conflict when one is open: at most one per assistant.

    `search_trials`: in place of what the assistant's hyperparameters say, for this run alone. `base_model`: to move
    to, if what is learned on it is found no worse than what serves.
    """
    if assistant.name == assistants.BASE_VERSION:
        raise InvalidInput("'base' is the bare model and never learns: train an assistant.")
    _require_priority(priority)
    if search_trials is not None and not 0 <= search_trials <= MOST_SEARCH_TRIALS:
        raise InvalidInput(
            f"A search has from 0 to {MOST_SEARCH_TRIALS} trials, not {search_trials}.", param="search_trials"
        )
    created = now()
    run = Run(
        id=f"run-{created:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}",
        assistant_id=assistant.id,
        reason=reason,
        requested_by=actor,
        seed=secrets.randbelow(2**31),
        priority=priority,
        search_trials=search_trials,
        base_model=None if base_model == assistant.base_model else base_model,
        created_at=created,
    )
    try:
        with session.begin_nested():
            session.add(run)
    except IntegrityError:
        raise _another_is_open(session, assistant) from None
    asked = {"search_trials": search_trials, "base_model": run.base_model}
    told = {name: value for name, value in asked.items() if value is not None}
    audit.record(session, actor, "run.request", run.id, reason=reason, priority=priority, **told)
    return run


def with_search(own: Hyperparameters, search_trials: int | None) -> Hyperparameters:
    """What a run trains by: the assistant's own, but for the search that was asked of the run."""
    return own if search_trials is None else own.model_copy(update={"search_trials": search_trials})


def retry(session: Session, run_id: str, *, actor: str) -> Run:
    """Queue a run again that failed or was cancelled, with as many attempts as at first.

    It goes on where its last attempt stood. One that had no dataset yet gathers anew. Raises Conflict when rows of its
    dataset were erased since: nothing is trained on the rest of them.
    """
    run = _locked(session, run_id)
    if run.status not in RETRIABLE:
        raise Conflict(f"Run {run_id} is {run.status}: only a run that failed or was cancelled can be retried.")
    assistant = session.get_one(Assistant, run.assistant_id)
    dataset = session.get(DatasetVersion, run.dataset_version_id) if run.dataset_version_id else None
    if dataset is not None and dataset.rows_erased:
        raise Conflict(
            f"Rows of {run_id}'s dataset were erased since: start a new run with `burnish train {assistant.name}`."
        )
    try:
        with session.begin_nested():
            run.status = RunStatus.QUEUED
            run.attempts_before = run.attempt - 1
            run.not_before = now()
            run.error = run.finished_at = run.worker = run.lease_token = run.lease_expires_at = None
            if dataset is None:
                run.started_at = None  # what was said until then is gathered
    except IntegrityError:
        raise _another_is_open(session, assistant) from None
    audit.record(session, actor, "run.retry", run_id, attempt=run.attempt)
    return run


def set_priority(session: Session, run_id: str, priority: int, *, actor: str) -> Run:
    """Move a queued run forward or back."""
    _require_priority(priority)
    run = _locked(session, run_id)
    if run.status != RunStatus.QUEUED:
        raise Conflict(f"Run {run_id} is {run.status}: only a queued run's priority matters.")
    run.priority = priority
    audit.record(session, actor, "run.priority", run_id, priority=priority)
    return run


def claim(database: Database, worker: str, lease_seconds: float) -> Claim | None:
    """Take the run that comes first: queued, or running under a lease that ran out."""
    at = now()
    lost = (col(Run.status) == RunStatus.RUNNING) & (col(Run.lease_expires_at) < at)
    lost_without_dataset = lost & col(Run.dataset_version_id).is_(None)
    due = (
        select(Run.id)
        .where(or_((col(Run.status) == RunStatus.QUEUED) & (col(Run.not_before) <= at), lost))
        .order_by(col(Run.priority).desc(), col(Run.created_at))
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    token = secrets.token_hex(16)
    with database.write() as session:
        _give_up(session, lost_without_dataset)
        taken = session.connection().execute(
            update(Run)
            .where(col(Run.id) == due.scalar_subquery())
            .values(
                status=RunStatus.RUNNING,
                attempt=case((lost_without_dataset, col(Run.attempt) + 1), else_=col(Run.attempt)),
                lease_token=token,
                lease_expires_at=at + timedelta(seconds=lease_seconds),
                worker=worker,
                started_at=func.coalesce(col(Run.started_at), at),
            )
            .returning(col(Run.id), col(Run.attempt), col(Run.attempts_before))
        )
        row = taken.first()
    return Claim(row[0], token, row[1], lease_seconds, row[2]) if row else None


def _give_up(session: Session, lost: ColumnElement[bool]) -> None:
    """Fail those that were lost in their last attempt; else they would end one worker after the other."""
    last = lost & (col(Run.attempt) - col(Run.attempts_before) >= MAX_ATTEMPTS)
    for run in session.exec(select(Run).where(last).with_for_update(skip_locked=True)).all():
        run.status = RunStatus.FAILED
        run.finished_at = now()
        run.lease_token = run.lease_expires_at = None
        run.error = (
            f"Its worker ended while it made the dataset, in the last of {MAX_ATTEMPTS} attempts, perhaps because the "
            "machine's memory ran out: the worker's log and the kernel's say more."
        )
        audit.record(session, f"worker:{run.id}", "run.attempt_failed", run.id, attempt=run.attempt)
        _tell(session, run, "run.failed")
    session.flush()


def heartbeat(database: Database, held: Claim) -> None:
    """Renew the lease. Raises LeaseLost when another worker has it, or the run was cancelled."""
    with database.write() as session:
        _fenced(session, held, lease_expires_at=now() + timedelta(seconds=held.lease_seconds))


def holds(database: Database, held: Claim) -> bool:
    """Whether the run is still the claim's; only looks."""
    mine = (Run.id == held.run_id, Run.lease_token == held.lease_token, col(Run.status) == RunStatus.RUNNING)
    with database.read() as session:
        return session.exec(select(Run.id).where(*mine)).first() is not None


def release_lease(database: Database, held: Claim) -> None:
    """Give the run back at a clean stop, so that the next worker needn't wait for the lease to run out."""
    with database.write() as session:
        _fenced(session, held, status=RunStatus.QUEUED, lease_token=None, lease_expires_at=None, worker=None)


def fail_attempt(database: Database, held: Claim, error: str, *, final: bool = False) -> RunStatus:
    """Note a failed attempt: queued again after a wait, or FAILED after the last one (or if no retry can help)."""
    over = final or held.is_last
    status = RunStatus.FAILED if over else RunStatus.QUEUED
    with database.write() as session:
        _fenced(
            session,
            held,
            status=status,
            error=error,
            attempt=held.attempt if over else held.attempt + 1,
            not_before=now() + timedelta(seconds=0 if over else RETRY_SECONDS[held.tries - 1]),
            finished_at=now() if over else None,
            lease_token=None,
            lease_expires_at=None,
        )
        audit.record(session, f"worker:{held.run_id}", "run.attempt_failed", held.run_id, attempt=held.attempt)
        if over:
            _tell(session, get_run(session, held.run_id), "run.failed")
    return status


def finish(session: Session, held: Claim) -> Run:
    """Mark the run as done, in the transaction that registers its result."""
    _fenced(
        session,
        held,
        status=RunStatus.SUCCEEDED,
        finished_at=now(),
        error=None,
        lease_token=None,
        lease_expires_at=None,
    )
    run = session.get_one(Run, held.run_id, populate_existing=True)
    _tell(session, run, "run.succeeded")
    return run


def require_lease(session: Session, held: Claim) -> None:
    """Raise LeaseLost unless the claim still holds; for other writes of the same transaction."""
    _fenced(session, held, lease_expires_at=now() + timedelta(seconds=held.lease_seconds))


def cancel(session: Session, run_id: str, *, actor: str) -> Run:
    """Stop an open run: its worker, if it has one, ends the training process within about a second."""
    run = _locked(session, run_id)
    if run.status not in OPEN_RUNS:
        raise Conflict(f"Run {run_id} has ended already ({run.status}).")
    run.status = RunStatus.CANCELLED
    run.finished_at = now()
    run.lease_token = None
    audit.record(session, actor, "run.cancel", run_id)
    _tell(session, run, "run.cancelled", by=actor)
    return run


def get_run(session: Session, run_id: str) -> Run:
    run = session.get(Run, run_id)
    if run is None:
        raise NotFound(f"No run '{run_id}': `burnish status` lists them.", param="run_id", code="run_not_found")
    return run


def list_runs(
    session: Session,
    assistant: Assistant | None = None,
    limit: int = 20,
    *,
    assistant_ids: Collection[int] | None = None,
    status: RunStatus | None = None,
    after: Run | None = None,
) -> list[Run]:
    """The newest first; of `assistant_ids` alone, and older than `after`, where those are given."""
    chosen = select(Run).order_by(col(Run.created_at).desc(), col(Run.id).desc()).limit(limit)
    if assistant is not None:
        chosen = chosen.where(Run.assistant_id == assistant.id)
    if assistant_ids is not None:
        chosen = chosen.where(col(Run.assistant_id).in_(assistant_ids))
    if status is not None:
        chosen = chosen.where(Run.status == status)
    if after is not None:
        older = (col(Run.created_at) == after.created_at) & (col(Run.id) < after.id)
        chosen = chosen.where((col(Run.created_at) < after.created_at) | older)
    return list(session.exec(chosen))


def _tell(session: Session, run: Run, event: str, **more: object) -> None:
    """Also with which verdict, where there is one; an error isn't told, since it may quote what was trained on."""
    judged = select(Evaluation).where(Evaluation.run_id == run.id).order_by(col(Evaluation.id).desc()).limit(1)
    evaluation = session.exec(judged).first()
    found = {} if evaluation is None else {"verdict": evaluation.verdict.value, "reasons": evaluation.reasons}
    hooks.tell(session, session.get_one(Assistant, run.assistant_id), event, run=run.id, **found, **more)


def _locked(session: Session, run_id: str) -> Run:
    """The run, which nobody else changes now; it may have been finishing just now."""
    get_run(session, run_id)
    return session.get_one(Run, run_id, populate_existing=True, with_for_update=True)


def _require_priority(priority: int) -> None:
    if abs(priority) > MOST_PRIORITY:
        raise InvalidInput(f"A priority is from -{MOST_PRIORITY} to {MOST_PRIORITY}, not {priority}.", param="priority")


def _another_is_open(session: Session, assistant: Assistant) -> Conflict:
    found = session.exec(select(Run.id).where(Run.assistant_id == assistant.id, col(Run.status).in_(OPEN_RUNS))).first()
    return Conflict(
        f"'{assistant.name}' has an open run already ({found or 'just ended'}): "
        f"wait for it, or stop it with `burnish train {assistant.name} --cancel`."
    )


def _fenced(session: Session, held: Claim, **values: object) -> None:
    result = session.connection().execute(
        update(Run)
        .where(
            col(Run.id) == held.run_id,
            col(Run.lease_token) == held.lease_token,
            col(Run.status) == RunStatus.RUNNING,
        )
        .values(**values)
    )
    if result.rowcount != 1:
        raise LeaseLost(f"The lease on {held.run_id} is gone: it was taken over or cancelled.")
