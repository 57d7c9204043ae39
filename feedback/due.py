"""When a run becomes due by itself: enough was said, or its schedule's time has come and there is something new.

Nothing is remembered but runs and feedback, so that asking twice, or by two workers at once, queues one run. Leaves
out the queue (runs.py).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from feedback import assistants, contributors, runs, schedule
from feedback.columns import now
from feedback.database import Database
from feedback.errors import Conflict
from feedback.fine_tuning.models import learns_feedback
from feedback.models import Assistant, Feedback, Run
from feedback.states import OPEN_RUNS, FeedbackKind, FeedbackStatus, RunStatus

TEACHING_KINDS = (FeedbackKind.CORRECTION, FeedbackKind.PREFERENCE)


@dataclass(frozen=True)
class Outlook:
    """What an assistant's next run by policy waits for."""

    new_feedback: int
    min_new_feedback: int
    open_run: str | None
    wait_until: datetime | None
    """The end of the cool-down after the last run, if that is still to come."""
    wants_new_word: bool
    """The last run failed, and nothing was said since: the same words would most likely fail the same way."""
    scheduled_at: datetime | None
    """The schedule's next time."""

    def __str__(self) -> str:
        if self.open_run is not None:
            return f"{self.open_run} is open"
        parts = [f"{self.new_feedback} of {self.min_new_feedback} new corrections and choices"]
        if self.wants_new_word:
            parts.append("after a failed run a new one first")
        if self.wait_until is not None:
            parts.append(f"cool-down until {self.wait_until:%Y-%m-%d %H:%M:%S} UTC")
        if self.scheduled_at is not None:
            parts.append(f"schedule {self.scheduled_at:%Y-%m-%d %H:%M} UTC")
        return "; ".join(parts)


def outlook(session: Session, assistant: Assistant) -> Outlook | None:
    """None for the base, which never learns."""
    if assistant.name == assistants.BASE_VERSION:
        return None
    policy = assistants.policies(assistant).training
    last = _last_run(session, assistant)
    until = _cool_down_end(assistant, last)
    return Outlook(
        new_feedback=_count_new(session, assistant),
        min_new_feedback=policy.min_new_feedback,
        open_run=open_run(session, assistant),
        wait_until=until if until is not None and until > now() else None,
        wants_new_word=_wants_new_word(session, assistant, last),
        scheduled_at=schedule.next_time(policy.schedule, now()) if policy.schedule else None,
    )


def request_if_due(session: Session, assistant: Assistant) -> Run | None:
    """Queue a run if enough was said; called in the transaction that stored feedback.

    Leaves out the schedule, which workers look at.
    """
    if not _may_be_due(session, assistant):
        return None
    _count_alone(session, assistant)
    reason = _enough(session, assistant)
    return _request(session, assistant, reason) if reason else None


def request_what_is_due(database: Database) -> list[Run]:
    """Ask for every assistant: what was said during a run, or soon after one, may by now be enough for the next.

    Only reads as long as nothing is due, so that it can be called again and again.
    """
    with database.read() as session:
        due = [one.id for one in assistants.list_assistants(session) if _why(session, one)]
    requested = []
    for assistant_id in due:
        with database.write() as session:
            assistant = session.get_one(Assistant, assistant_id)
            _count_alone(session, assistant)
            if reason := _why(session, assistant):
                requested.append(_request(session, assistant, reason))
    return [run for run in requested if run is not None]


def _why(session: Session, assistant: Assistant) -> str | None:
    """The reason for a run now; None: there is none."""
    if not _may_be_due(session, assistant):
        return None
    return _enough(session, assistant) or _scheduled(session, assistant)


def _enough(session: Session, assistant: Assistant) -> str | None:
    wanted = assistants.policies(assistant).training.min_new_feedback
    count = _count_new(session, assistant)
    return f"{count} new corrections and choices (the policy asks for {wanted})" if count >= wanted else None


def _scheduled(session: Session, assistant: Assistant) -> str | None:
    """A time has come since the last run, and something had been said by then that no run has seen to.

    What nobody was there for at its time is made up for, once. What is said after a time waits for the next.
    """
    expression = assistants.policies(assistant).training.schedule
    came = schedule.last_time(expression, now()) if expression else None
    if came is None or came <= (assistant.scheduled_since or assistant.created_at):
        return None
    last = _last_run(session, assistant)
    if last is not None and last.created_at >= came:
        return None
    count = _count_new(session, assistant, until=came)
    if not count:
        return None
    return f"{count} new corrections and choices at {came:%Y-%m-%d %H:%M} UTC (schedule {expression})"


def _request(session: Session, assistant: Assistant, reason: str) -> Run | None:
    try:
        return runs.request(session, assistant, reason, actor="policy")
    except Conflict:
        return None


def _count_alone(session: Session, assistant: Assistant) -> None:
    """One at a time counts: else two intakes at once each miss the other's word, and none sees that it is due."""
    session.exec(select(Assistant.id).where(Assistant.id == assistant.id).with_for_update(key_share=True)).one()


def _may_be_due(session: Session, assistant: Assistant) -> bool:
    """Whether a run may be requested now, if enough was said."""
    if assistant.name == assistants.BASE_VERSION:
        return False
    last = _last_run(session, assistant)
    if last is None:
        return True
    if last.status in OPEN_RUNS or _wants_new_word(session, assistant, last):
        return False
    until = _cool_down_end(assistant, last)
    # one before the last may have been retried by hand
    return (until is None or now() >= until) and open_run(session, assistant) is None


def _last_run(session: Session, assistant: Assistant) -> Run | None:
    """Of those that learn from feedback."""
    mine = select(Run).where(Run.assistant_id == assistant.id, learns_feedback())
    return session.exec(mine.order_by(col(Run.created_at).desc()).limit(1)).first()


def open_run(session: Session, assistant: Assistant) -> str | None:
    """The id of the run that is queued or running."""
    mine = select(Run.id).where(Run.assistant_id == assistant.id, col(Run.status).in_(OPEN_RUNS))
    return session.exec(mine).first()


def _wants_new_word(session: Session, assistant: Assistant, last: Run | None) -> bool:
    """After a failed run: the same words would most likely fail the same way, again and again."""
    if last is None or last.status != RunStatus.FAILED:
        return False
    return not session.exec(_teaching(assistant).where(_came_in() > last.created_at)).one()


def _cool_down_end(assistant: Assistant, last: Run | None) -> datetime | None:
    if last is None:
        return None
    since = (last.finished_at or last.created_at) if last.status == RunStatus.FAILED else last.created_at
    return since + timedelta(seconds=assistants.policies(assistant).training.min_seconds_between_runs)


def _count_new(session: Session, assistant: Assistant, until: datetime | None = None) -> int:
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
    if learned is not None:
        fresh = fresh.where(_came_in() > learned)
    if until is not None:
        fresh = fresh.where(_came_in() <= until)
    return session.exec(fresh).one()


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
            contributors.is_heard(),
        )
    )


def _came_in() -> ColumnElement[datetime]:
    """When feedback came in, which may be long after it was said: it is new to us all the same."""
    return func.coalesce(col(Feedback.imported_at), col(Feedback.created_at))
