"""The run queue, on the database: request, claim, heartbeat, fail, finish.

A worker holds a run by a lease that it renews; every write carries the lease's token, so a worker that was taken
over can write nothing (fencing). Taking over is no failed attempt. All transitions of a run's status are here.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, or_, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from feedback import assistants, audit
from feedback.columns import now
from feedback.database import Database
from feedback.errors import Conflict, InvalidInput, LeaseLost, NotFound
from feedback.fine_tuning.models import learns_feedback
from feedback.models import Assistant, Feedback, Run
from feedback.states import OPEN_RUNS, FeedbackKind, FeedbackStatus, RunStatus

MAX_ATTEMPTS = 3
RETRY_SECONDS = (5.0, 30.0)
"""Wait before the second and the third attempt."""
TEACHING_KINDS = (FeedbackKind.CORRECTION, FeedbackKind.PREFERENCE)


@dataclass(frozen=True)
class Claim:
    """A worker's hold on a run."""

    run_id: str
    lease_token: str
    attempt: int
    lease_seconds: float


def request(session: Session, assistant: Assistant, reason: str, *, actor: str) -> Run:
    """Queue a run. Raises Conflict when one is open: at most one per assistant."""
    if assistant.name == assistants.BASE_VERSION:
        raise InvalidInput("'base' is the bare model and never learns: train an assistant.")
    created = now()
    run = Run(
        id=f"run-{created:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}",
        assistant_id=assistant.id,
        reason=reason,
        requested_by=actor,
        seed=secrets.randbelow(2**31),
        created_at=created,
    )
    try:
        with session.begin_nested():
            session.add(run)
    except IntegrityError:
        open_run = session.exec(
            select(Run).where(Run.assistant_id == assistant.id, col(Run.status).in_(OPEN_RUNS))
        ).first()
        raise Conflict(
            f"'{assistant.name}' has an open run already ({open_run.id if open_run else 'just ended'}): "
            f"wait for it, or stop it with `burnish train {assistant.name} --cancel`."
        ) from None
    audit.record(session, actor, "run.request", run.id, reason=reason)
    return run


def request_if_due(session: Session, assistant: Assistant) -> Run | None:
    """Queue a run if the assistant's training policy says so; called in the transaction that stored feedback."""
    if not _may_be_due(session, assistant):
        return None
    # one intake at a time counts: else two at once each miss the other's word, and none sees that it is due
    session.exec(select(Assistant.id).where(Assistant.id == assistant.id).with_for_update(key_share=True)).one()
    wanted = assistants.policies(assistant).training.min_new_feedback
    count = _count_new(session, assistant)
    if count < wanted:
        return None
    reason = f"{count} new corrections and choices (the policy asks for {wanted})"
    try:
        return request(session, assistant, reason, actor="policy")
    except Conflict:
        return None


def request_what_is_due(database: Database) -> list[Run]:
    """Ask for every assistant: what was said during a run, or soon after one, may by now be enough for the next.

    Only reads as long as nothing is due, so that it can be called again and again.
    """
    with database.read() as session:
        due = [
            assistant.id
            for assistant in assistants.list_assistants(session)
            if _may_be_due(session, assistant)
            and _count_new(session, assistant) >= assistants.policies(assistant).training.min_new_feedback
        ]
    requested = []
    for assistant_id in due:
        with database.write() as session:
            requested.append(request_if_due(session, session.get_one(Assistant, assistant_id)))
    return [run for run in requested if run is not None]


def _may_be_due(session: Session, assistant: Assistant) -> bool:
    """Whether a run may be requested now, if enough was said."""
    if assistant.name == assistants.BASE_VERSION:
        return False
    mine = select(Run).where(Run.assistant_id == assistant.id).order_by(col(Run.created_at).desc()).limit(1)
    if session.exec(mine.where(col(Run.status).in_(OPEN_RUNS))).first() is not None:
        return False
    last = session.exec(mine.where(learns_feedback())).first()
    if last is None:
        return True
    since = last.created_at
    if last.status == RunStatus.FAILED:
        # the same words would most likely fail the same way, again and again: wait for a new one
        if not session.exec(_teaching(assistant).where(_came_in() > since)).one():
            return False
        since = last.finished_at or since
    return now() - since >= timedelta(seconds=assistants.policies(assistant).training.min_seconds_between_runs)


def _count_new(session: Session, assistant: Assistant) -> int:
    """Corrections and choices that no run has seen to; what a failed run was to learn still waits."""
    learned = session.exec(
        # a run's dataset is gathered after its start, and so has what was said while it was queued
        select(func.max(func.coalesce(Run.started_at, Run.created_at))).where(
            Run.assistant_id == assistant.id,
            col(Run.status).in_((RunStatus.SUCCEEDED, RunStatus.CANCELLED)),
            learns_feedback(),
        )
    ).one()
    fresh = _teaching(assistant)
    return session.exec(fresh if learned is None else fresh.where(_came_in() > learned)).one()


def _teaching(assistant: Assistant) -> SelectOfScalar[int]:
    """How many corrections and choices are current."""
    return (
        select(func.count())
        .select_from(Feedback)
        .where(
            Feedback.assistant_id == assistant.id,
            col(Feedback.kind).in_(TEACHING_KINDS),
            col(Feedback.score).is_(None),  # a tie has one: it prefers neither
            Feedback.status == FeedbackStatus.RECEIVED,
        )
    )


def _came_in() -> ColumnElement[datetime]:
    """When feedback came in, which may be long after it was said: it is new to us all the same."""
    return func.coalesce(col(Feedback.imported_at), col(Feedback.created_at))


def claim(database: Database, worker: str, lease_seconds: float) -> Claim | None:
    """Take the oldest run that is due: queued, or running under a lease that ran out."""
    at = now()
    due = (
        select(Run.id)
        .where(
            or_(
                (col(Run.status) == RunStatus.QUEUED) & (col(Run.not_before) <= at),
                (col(Run.status) == RunStatus.RUNNING) & (col(Run.lease_expires_at) < at),
            )
        )
        .order_by(col(Run.created_at))
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    token = secrets.token_hex(16)
    with database.write() as session:
        taken = session.connection().execute(
            update(Run)
            .where(col(Run.id) == due.scalar_subquery())
            .values(
                status=RunStatus.RUNNING,
                lease_token=token,
                lease_expires_at=at + timedelta(seconds=lease_seconds),
                worker=worker,
                started_at=func.coalesce(col(Run.started_at), at),
            )
            .returning(col(Run.id), col(Run.attempt))
        )
        row = taken.first()
    return Claim(row[0], token, row[1], lease_seconds) if row else None


def heartbeat(database: Database, held: Claim) -> None:
    """Renew the lease. Raises LeaseLost when another worker has it, or the run was cancelled."""
    with database.write() as session:
        _fenced(session, held, lease_expires_at=now() + timedelta(seconds=held.lease_seconds))


def release_lease(database: Database, held: Claim) -> None:
    """Give the run back at a clean stop, so that the next worker needn't wait for the lease to run out."""
    with database.write() as session:
        _fenced(session, held, status=RunStatus.QUEUED, lease_token=None, lease_expires_at=None, worker=None)


def fail_attempt(database: Database, held: Claim, error: str, *, final: bool = False) -> RunStatus:
    """Note a failed attempt: queued again after a wait, or FAILED after the last one (or if no retry can help)."""
    over = final or held.attempt >= MAX_ATTEMPTS
    status = RunStatus.FAILED if over else RunStatus.QUEUED
    with database.write() as session:
        _fenced(
            session,
            held,
            status=status,
            error=error,
            attempt=held.attempt if over else held.attempt + 1,
            not_before=now() + timedelta(seconds=0 if over else RETRY_SECONDS[held.attempt - 1]),
            finished_at=now() if over else None,
            lease_token=None,
            lease_expires_at=None,
        )
        audit.record(session, f"worker:{held.run_id}", "run.attempt_failed", held.run_id, attempt=held.attempt)
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
    return session.get_one(Run, held.run_id, populate_existing=True)


def require_lease(session: Session, held: Claim) -> None:
    """Raise LeaseLost unless the claim still holds; for other writes of the same transaction."""
    _fenced(session, held, lease_expires_at=now() + timedelta(seconds=held.lease_seconds))


def cancel(session: Session, run_id: str, *, actor: str) -> Run:
    """Stop an open run: its worker notices at the next heartbeat."""
    get_run(session, run_id)
    run = session.get_one(Run, run_id, populate_existing=True, with_for_update=True)  # it may be finishing just now
    if run.status not in OPEN_RUNS:
        raise Conflict(f"Run {run_id} has ended already ({run.status}).")
    run.status = RunStatus.CANCELLED
    run.finished_at = now()
    run.lease_token = None
    audit.record(session, actor, "run.cancel", run_id)
    return run


def get_run(session: Session, run_id: str) -> Run:
    run = session.get(Run, run_id)
    if run is None:
        raise NotFound(f"No run '{run_id}': `burnish status` lists them.", param="run_id", code="run_not_found")
    return run


def list_runs(session: Session, assistant: Assistant | None = None, limit: int = 20) -> list[Run]:
    chosen = select(Run).order_by(col(Run.created_at).desc()).limit(limit)
    return list(session.exec(chosen.where(Run.assistant_id == assistant.id) if assistant else chosen))


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
