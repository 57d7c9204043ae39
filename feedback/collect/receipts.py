"""What became of a piece of feedback, in plain words, for whoever holds its receipt."""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from feedback import lineage
from feedback.collect.intake import hash_receipt
from feedback.errors import NotFound
from feedback.gather import LEARNABLE
from feedback.models import Feedback, Review
from feedback.review import latest_decisions
from feedback.states import FeedbackKind, FeedbackStatus, ReviewDecision


@dataclass(frozen=True)
class Receipt:
    id: str
    kind: str
    status: str  # received, in_review, declined, replaced; used, learned, live
    detail: str
    note: str | None  # the reviewer's public words
    created_at: datetime


def look_up(session: Session, receipt: str) -> Receipt:
    feedback = session.exec(select(Feedback).where(Feedback.receipt_sha256 == hash_receipt(receipt))).first()
    if feedback is None:
        raise NotFound("No feedback with this receipt.", param="receipt", code="receipt_not_found")
    status, detail = _tell(session, feedback)
    review = session.exec(
        select(Review).where(Review.feedback_id == feedback.id).order_by(col(Review.id).desc()).limit(1)
    ).first()
    return Receipt(
        feedback.public_id, feedback.kind, status, detail, review.note if review else None, feedback.created_at
    )


def _tell(session: Session, feedback: Feedback) -> tuple[str, str]:
    reach = lineage.reach_of(session, feedback.id)
    if reach.live_since is not None:
        return (
            "live",
            f"Learned by {reach.version}, which has been answering since {reach.live_since:%Y-%m-%d %H:%M} UTC.",
        )
    if reach.version is not None:
        return "learned", f"Learned by {reach.version}."
    if reach.judged_by is not None:
        return "used", f"Used to judge {reach.judged_by}; kept out of training so that the judgement is fair."
    if reach.dataset_number is not None:
        return "used", f"Used in dataset v{reach.dataset_number}."
    match feedback.status:
        case FeedbackStatus.RECEIVED:
            return "received", _received(session, feedback)
        case FeedbackStatus.IN_REVIEW if feedback.kind == FeedbackKind.REPORT:
            return "in_review", "Your report has opened a case; a person looks into it."
        case FeedbackStatus.IN_REVIEW if feedback.status_reason:
            return "in_review", f"Held back for now, for a person to look at: {feedback.status_reason}"
        case FeedbackStatus.IN_REVIEW:
            return "in_review", "A person looks at it first."
        case FeedbackStatus.DECLINED if feedback.kind in LEARNABLE:
            return "declined", f"Not learned from: {feedback.status_reason}"
        case FeedbackStatus.DECLINED if feedback.kind == FeedbackKind.REPORT:
            return "declined", f"A person has looked into it and turned it down: {feedback.status_reason}"
        case FeedbackStatus.DECLINED:
            return "declined", f"A person has turned it down: {feedback.status_reason}"
        case FeedbackStatus.REPLACED if feedback.kind == FeedbackKind.SURVEY:
            return "replaced", "You have answered this survey anew."
        case FeedbackStatus.REPLACED:
            return "replaced", "You said something newer about this reply."


def _received(session: Session, feedback: Feedback) -> str:
    match feedback.kind:
        case FeedbackKind.REPORT:
            return "A person has looked at it and closed the case."
        case FeedbackKind.COMMENT:
            return "Stored for people to read; nothing is trained on comments."
        case FeedbackKind.SURVEY:
            return "Stored with the other answers for people to read; nothing is trained on surveys."
    if feedback.training is False:
        return "Stored for people to read; nothing is trained on it, as you wished."
    if latest_decisions(session, [feedback.id]).get(feedback.id) == ReviewDecision.APPROVED:
        return "A person has approved it; the next dataset can use it."
    return "Stored; it will be looked at when the next dataset is made."
