"""A person's decision on a piece of feedback: learn from it, or don't. The note shows on the giver's receipt."""

from collections.abc import Iterable

from sqlmodel import Session, col, select

from feedback import audit
from feedback.columns import now
from feedback.conversations import history
from feedback.database import in_portions
from feedback.errors import NotFound
from feedback.models import Assistant, Feedback, Message, ReportCase, Review
from feedback.states import CaseStatus, FeedbackStatus, ReviewDecision


def get_feedback(session: Session, public_id: str, assistant_ids: frozenset[int] | None = None) -> Feedback:
    feedback = session.exec(select(Feedback).where(Feedback.public_id == public_id)).first()
    if feedback is None or (assistant_ids is not None and feedback.assistant_id not in assistant_ids):
        raise NotFound(f"No feedback '{public_id}': `burnish feedback list ASSISTANT` shows what there is.", param="id")
    return feedback


def list_feedback(
    session: Session, assistant: Assistant, *, status: FeedbackStatus | None = None, limit: int = 50
) -> list[Feedback]:
    chosen = select(Feedback).where(Feedback.assistant_id == assistant.id)
    if status is not None:
        chosen = chosen.where(Feedback.status == status)
    return list(session.exec(chosen.order_by(col(Feedback.id).desc()).limit(limit)))


def decide(session: Session, feedback: Feedback, decision: ReviewDecision, *, note: str | None, actor: str) -> Review:
    review = Review(feedback_id=feedback.id, decision=decision, note=note, actor=actor)
    session.add(review)
    if feedback.status != FeedbackStatus.REPLACED:
        rejected = decision == ReviewDecision.REJECTED
        feedback.status = FeedbackStatus.DECLINED if rejected else FeedbackStatus.RECEIVED
        feedback.status_reason = (note or "a reviewer decided so.") if rejected else None
        session.add(feedback)
    case = session.exec(select(ReportCase).where(ReportCase.feedback_id == feedback.id)).first()
    if case is not None and case.status == CaseStatus.OPEN:
        case.status = CaseStatus.CLOSED
        case.note = note
        case.closed_at = now()
        session.add(case)
    audit.record(session, actor, "feedback.review", feedback.public_id, decision=decision)
    session.flush()
    return review


def latest_decisions(session: Session, feedback_ids: Iterable[int]) -> dict[int, ReviewDecision]:
    """What counts of the reviewers' decisions; nothing for what nobody decided on."""
    return {
        review.feedback_id: review.decision
        for some in in_portions(feedback_ids)
        for review in session.exec(select(Review).where(col(Review.feedback_id).in_(some)).order_by(col(Review.id)))
    }


def all_decisions(session: Session, assistant: Assistant) -> dict[int, ReviewDecision]:
    """The same for everything said to an assistant."""
    found = session.exec(
        select(Review.feedback_id, Review.decision)
        .join(Feedback, col(Feedback.id) == col(Review.feedback_id))
        .where(Feedback.assistant_id == assistant.id)
        .order_by(col(Review.id))
    )
    return {number: ReviewDecision(decision) for number, decision in found}


def decisions_between(session: Session, first: int, last: int) -> dict[int, ReviewDecision]:
    """The same for all feedback with ids from `first` to `last`."""
    found = session.exec(
        select(Review.feedback_id, Review.decision)
        .where(col(Review.feedback_id).between(first, last))
        .order_by(col(Review.id))
    )
    return {number: ReviewDecision(decision) for number, decision in found}


def with_conversation(session: Session, feedback: Feedback) -> dict[str, object]:
    """A piece of feedback beside what it is about, for a reviewer."""
    reply = session.get_one(Message, feedback.message_id)
    return {
        "id": feedback.public_id,
        "kind": feedback.kind.value,
        "value": feedback.value,
        "comment": feedback.comment,
        "tags": feedback.tags,
        "status": feedback.status.value,
        "status_reason": feedback.status_reason,
        "source": feedback.source,
        "conversation": [f"{turn['role']}: {turn['content']}" for turn in history(session, reply)],
        "reply": reply.content,
    }
