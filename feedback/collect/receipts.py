"""What became of a piece of feedback, in plain words, for whoever holds its receipt."""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from feedback import lineage
from feedback.collect.intake import hash_receipt
from feedback.errors import NotFound
from feedback.models import Feedback, Review
from feedback.states import FeedbackKind, FeedbackStatus


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
        raise NotFound(
            "No feedback with this receipt (any more): none was given, or it was erased.",
            param="receipt",
            code="receipt_not_found",
        )
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
        case FeedbackStatus.RECEIVED if feedback.kind == FeedbackKind.REPORT:
            return "received", "A person has looked at it and closed the case."
        case FeedbackStatus.RECEIVED if feedback.kind == FeedbackKind.COMMENT:
            return "received", "Stored for people to read; nothing is trained on comments."
        case FeedbackStatus.RECEIVED:
            return "received", "Stored; it will be looked at when the next dataset is made."
        case FeedbackStatus.IN_REVIEW:
            return "in_review", "A person looks at it first."
        case FeedbackStatus.DECLINED:
            return "declined", f"Not learned from: {feedback.status_reason}"
        case FeedbackStatus.REPLACED:
            return "replaced", feedback.status_reason or "You said something newer about this reply."
