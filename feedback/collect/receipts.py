"""What became of a piece of feedback, in plain words, for whoever holds its receipt."""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from feedback import adapters, cases, lineage
from feedback.collect.intake import hash_receipt
from feedback.errors import NotFound
from feedback.models import Feedback, Release, ReportCase, Review
from feedback.review.opinions import learns
from feedback.states import LEARNABLE, CaseOutcome, CaseStatus, FeedbackKind, FeedbackStatus, ReleaseState


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
        raise NotFound(
            "No feedback with this receipt (any more): none was given, or it was erased.",
            param="receipt",
            code="receipt_not_found",
        )
    # what several people haven't agreed on yet is nobody's word
    review = session.exec(select(Review).where(Review.feedback_id == feedback.id, col(Review.counts).is_(True))).first()
    status, detail = _tell(session, feedback, review)
    return Receipt(
        feedback.public_id, feedback.kind, status, detail, review.note if review else None, feedback.created_at
    )


def _standing(session: Session, label: str) -> str:
    """What became of a version that doesn't answer everybody, in a relative clause."""
    _, version = adapters.get_version(session, label)
    newest = select(Release).where(Release.adapter_version_id == version.id).order_by(col(Release.id).desc())
    release = session.exec(newest.limit(1)).first()
    if release is None:
        return ""
    share = f"{release.traffic_percent} % of the conversations"
    match release.state:
        case ReleaseState.PROPOSED:
            return ", which waits for an operator's word"
        case ReleaseState.SHADOW:
            return ", which is on trial: nobody is shown what it answers yet"
        case ReleaseState.CANARY:
            return f", which is on trial: it answers in {share}"
        case ReleaseState.HOLDOUT:
            return f", which a newer one replaced, and which still answers in {share}"
        case ReleaseState.RETIRED:
            return f", which answered until {release.ended_at:%Y-%m-%d %H:%M} UTC" if release.ended_at else ""
        case _:
            return ", which was tried and taken back" if release.tried_at else ", which was not taken up"


def _tell(session: Session, feedback: Feedback, review: Review | None) -> tuple[str, str]:
    reach = lineage.reach_of(session, feedback.id)
    if reach.live_since is not None:
        return (
            "live",
            f"Learned by {reach.version}, which has been answering since {reach.live_since:%Y-%m-%d %H:%M} UTC.",
        )
    if reach.version is not None:
        return "learned", f"Learned by {reach.version}{_standing(session, reach.version)}."
    if reach.judged_by is not None:
        return "used", f"Used to judge {reach.judged_by}; kept out of training so that the judgement is fair."
    if reach.dataset_number is not None:
        return "used", f"Used in dataset v{reach.dataset_number}."
    if feedback.kind == FeedbackKind.REPORT:
        return _tell_case(feedback, cases.of_reply(session, feedback.message_id))
    match feedback.status:
        case FeedbackStatus.RECEIVED:
            return "received", _received(feedback, review)
        case FeedbackStatus.IN_REVIEW if feedback.status_reason:
            return "in_review", f"Held back for now, for a person to look at: {feedback.status_reason}"
        case FeedbackStatus.IN_REVIEW:
            return "in_review", "A person looks at it first."
        case FeedbackStatus.DECLINED if feedback.kind in LEARNABLE:
            return "declined", f"Not learned from: {feedback.status_reason}"
        case FeedbackStatus.DECLINED:
            return "declined", f"A person has turned it down: {feedback.status_reason}"
        case FeedbackStatus.REPLACED if feedback.kind == FeedbackKind.SURVEY:
            return "replaced", "You have answered this survey anew."
        case FeedbackStatus.REPLACED:
            return "replaced", "You said something newer about this reply."


def _tell_case(report: Feedback, case: ReportCase | None) -> tuple[str, str]:
    if case is None or case.status != CaseStatus.RESOLVED:
        if case is not None and case.status == CaseStatus.INVESTIGATING:
            return "in_review", "A person is looking into it."
        if report.status != FeedbackStatus.IN_REVIEW:
            return "in_review", "It is being looked at again."
        return "in_review", "Your report has opened a case; a person looks into it."
    if case.outcome == CaseOutcome.DISMISSED:
        return "declined", "A person has looked into it and sees nothing wrong with the reply."
    return "resolved", "A person has looked at it and closed the case."


def _received(feedback: Feedback, review: Review | None) -> str:
    match feedback.kind:
        case FeedbackKind.COMMENT:
            return "Stored for people to read; nothing is trained on comments."
        case FeedbackKind.SURVEY:
            return "Stored with the other answers for people to read; nothing is trained on surveys."
    if feedback.training is False:
        return "Stored for people to read; nothing is trained on it, as you wished."
    if review is not None and learns(review.decision):
        return "A person has approved it; the next dataset can use it."
    return "Stored; it will be looked at when the next dataset is made."
