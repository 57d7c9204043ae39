"""What became of a piece of feedback, in plain words, for whoever holds its receipt."""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from feedback import cases, lineage
from feedback.collect.intake import hash_receipt
from feedback.errors import NotFound
from feedback.models import Feedback, ReportCase, Review
from feedback.states import CaseOutcome, CaseStatus, FeedbackKind, FeedbackStatus


@dataclass(frozen=True)
class Receipt:
    id: str
    kind: str
    status: str  # received, in_review, declined, replaced; used, learned, live; of a report: resolved
    detail: str
    note: str | None  # the reviewer's public words; of a report: the answer
    created_at: datetime


def look_up(session: Session, receipt: str) -> Receipt:
    feedback = session.exec(select(Feedback).where(Feedback.receipt_sha256 == hash_receipt(receipt))).first()
    if feedback is None:
        raise NotFound("No feedback with this receipt.", param="receipt", code="receipt_not_found")
    status, detail = _tell(session, feedback)
    # what several people haven't agreed on yet is nobody's word
    review = session.exec(select(Review).where(Review.feedback_id == feedback.id, col(Review.counts).is_(True))).first()
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
    if feedback.kind == FeedbackKind.REPORT:
        return _tell_case(feedback, cases.of_reply(session, feedback.message_id))
    match feedback.status:
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


def _tell_case(report: Feedback, case: ReportCase | None) -> tuple[str, str]:
    if case is None or case.status != CaseStatus.RESOLVED:
        if case is not None and case.status == CaseStatus.INVESTIGATING:
            return "in_review", "A person is looking into it."
        again = report.status != FeedbackStatus.IN_REVIEW
        return "in_review", "It is being looked at again." if again else "A person looks at it first."
    if case.outcome == CaseOutcome.DISMISSED:
        return "declined", "A person has looked at it and sees nothing wrong with the reply."
    return "resolved", "A person has looked at it and closed the case."
