"""Who looks at an entry of the queue now: a claim is a lease, and two reviewers at once never get the same entry."""

from datetime import timedelta
from typing import Any

from sqlalchemy import or_, update
from sqlmodel import Session, col

from feedback import assistants
from feedback.columns import now
from feedback.errors import Conflict
from feedback.models import Assistant, Feedback
from feedback.review import queue
from feedback.review.queue import Wanted
from feedback.states import FeedbackStatus

MOST_AT_ONCE = 50
"""Reviewers who may take an entry at the same moment: whoever finds one locked goes on to the next."""


def claim(session: Session, feedback: Feedback, *, actor: str) -> Feedback:
    """Take it, or keep it for longer. Raises Conflict if somebody else has it, or there is nothing to decide."""
    if feedback.status == FeedbackStatus.REPLACED:
        raise Conflict("Its giver said something newer about this reply: there is nothing to decide.", param="id")
    free = or_(col(Feedback.claimed_by) == actor, queue.is_free(now()))
    held = _held(session, feedback.assistant_id, actor)
    taken = session.connection().execute(update(Feedback).where(col(Feedback.id) == feedback.id, free).values(**held))
    session.refresh(feedback)
    if taken.rowcount != 1:
        raise Conflict(f"{feedback.claimed_by} looks at it until {feedback.claimed_until:%H:%M} UTC.", param="id")
    return feedback


def release(session: Session, feedback: Feedback, *, actor: str) -> Feedback:
    """Let others have it; what isn't held needs no releasing."""
    skip(session, feedback, actor=actor)
    if is_held_by_another(feedback, actor):
        raise Conflict(f"{feedback.claimed_by} holds it, not you: it is free at {feedback.claimed_until:%H:%M} UTC.")
    return feedback


def skip(session: Session, feedback: Feedback, *, actor: str) -> None:
    """Let others have it, who may have it already: asked again, this changes nothing."""
    session.connection().execute(
        update(Feedback)
        .where(col(Feedback.id) == feedback.id, col(Feedback.claimed_by) == actor)
        .values(claimed_by=None, claimed_until=None)
    )
    session.refresh(feedback)


def claim_next(session: Session, assistant: Assistant, wanted: Wanted, *, actor: str) -> Feedback | None:
    """The entry that the reviewer has already, else the first one that nobody has; None: there is none.

    One statement looks and takes: whoever comes second finds the row taken and goes on to the one after it.
    """
    open_one = col(Feedback.status) != FeedbackStatus.REPLACED  # about which there is nothing to decide
    mine = session.exec(queue.held(session, assistant, wanted, open_one, actor=actor).limit(1)).first()
    if mine is not None:
        return claim(session, mine, actor=actor)
    free = queue.chosen(session, assistant, wanted, open_one, queue.is_free(now()), actor=actor, most=MOST_AT_ONCE)
    free = free.limit(1).with_for_update(of=Feedback, skip_locked=True)
    first = free.with_only_columns(col(Feedback.id)).scalar_subquery()
    taken = session.connection().execute(
        update(Feedback)
        .where(col(Feedback.id) == first)
        .values(**_held(session, assistant.id, actor))
        .returning(col(Feedback.id))
    )
    row = taken.first()
    return session.get_one(Feedback, row[0], populate_existing=True) if row else None


def is_held_by_another(feedback: Feedback, actor: str) -> bool:
    held = feedback.claimed_until is not None and feedback.claimed_until > now()
    return held and feedback.claimed_by != actor


def _held(session: Session, assistant_id: int, actor: str) -> dict[str, Any]:
    policy = assistants.policies(session.get_one(Assistant, assistant_id)).review
    return {"claimed_by": actor, "claimed_until": now() + timedelta(seconds=policy.claim_seconds)}
