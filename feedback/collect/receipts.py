"""What became of a piece of feedback, in plain words, for whoever holds its receipt."""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from feedback import adapters, cases, lineage, reasons
from feedback.collect import timeline
from feedback.collect.intake import hash_receipt
from feedback.collect.timeline import Step
from feedback.errors import NotFound
from feedback.lineage import Reach
from feedback.models import Feedback, Release, ReportCase, Review
from feedback.review.opinions import learns
from feedback.sentences import Told
from feedback.states import LEARNABLE, CaseOutcome, CaseStatus, FeedbackKind, FeedbackStatus, ReleaseState


@dataclass(frozen=True)
class Receipt:
    id: str
    kind: str
    status: str  # received, in_review, declined, replaced; used, learned, live; of a report: resolved
    detail: str
    note: str | None  # the reviewer's public words; of a report: the answer
    created_at: datetime
    steps: tuple[Step, ...]  # what happened to it, in order


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
    reach = lineage.reach_of(session, feedback.id)
    status, detail = _tell(session, feedback, review, reach)
    return Receipt(
        feedback.public_id,
        feedback.kind,
        status,
        detail,
        review.note if review else None,
        feedback.created_at,
        timeline.of(session, feedback, review, reach),
    )


def _standing(session: Session, label: str) -> str:
    """What became of a version that doesn't answer everybody, in a relative clause."""
    _, version = adapters.get_version(session, label)
    newest = select(Release).where(Release.adapter_version_id == version.id).order_by(col(Release.id).desc())
    release = session.exec(newest.limit(1)).first()
    if release is None:
        return ""
    share = Told("{percent} % of the conversations", percent=release.traffic_percent)
    match release.state:
        case ReleaseState.PROPOSED:
            return Told(", which waits for an operator's word")
        case ReleaseState.SHADOW:
            return Told(", which is on trial: nobody is shown what it answers yet")
        case ReleaseState.CANARY:
            return Told(", which is on trial: it answers in {share}", share=share)
        case ReleaseState.HOLDOUT:
            return Told(", which a newer one replaced, and which still answers in {share}", share=share)
        case ReleaseState.RETIRED:
            return Told(", which answered until {until}", until=_utc(release.ended_at)) if release.ended_at else ""
        case _:
            return Told(", which was tried and taken back" if release.tried_at else ", which was not taken up")


def _tell(session: Session, feedback: Feedback, review: Review | None, reach: Reach) -> tuple[str, str]:
    version = reach.version
    if version is not None and reach.live_since is not None:
        told = "Learned by {version}, which has been answering since {since}."
        return "live", Told(told, version=version, since=_utc(reach.live_since))
    if version is not None:
        return "learned", Told("Learned by {version}{standing}.", version=version, standing=_standing(session, version))
    if reach.judged_by is not None:
        told = "Used to judge {version}; kept out of training so that the judgement is fair."
        return "used", Told(told, version=reach.judged_by)
    if reach.dataset_number is not None:
        return "used", Told("Used in dataset v{number}.", number=reach.dataset_number)
    if feedback.kind == FeedbackKind.REPORT:
        return _tell_case(feedback, cases.of_reply(session, feedback.message_id))
    why = reasons.told(str(feedback.status_reason))
    match feedback.status:
        case FeedbackStatus.RECEIVED:
            return "received", _received(feedback, review)
        case FeedbackStatus.IN_REVIEW if feedback.status_reason:
            return "in_review", Told("Held back for now, for a person to look at: {why}", why=why)
        case FeedbackStatus.IN_REVIEW:
            return "in_review", Told("A person looks at it first.")
        case FeedbackStatus.DECLINED if feedback.kind in LEARNABLE:
            return "declined", Told("Not learned from: {why}", why=why)
        case FeedbackStatus.DECLINED:
            return "declined", Told("A person has turned it down: {why}", why=why)
        case FeedbackStatus.REPLACED if feedback.kind == FeedbackKind.SURVEY:
            return "replaced", Told("You have answered this survey anew.")
        case FeedbackStatus.REPLACED:
            return "replaced", Told("You said something newer about this reply.")


def _utc(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _tell_case(report: Feedback, case: ReportCase | None) -> tuple[str, str]:
    if case is None or case.status != CaseStatus.RESOLVED:
        if case is not None and case.status == CaseStatus.INVESTIGATING:
            return "in_review", Told("A person is looking into it.")
        if report.status != FeedbackStatus.IN_REVIEW:
            return "in_review", Told("It is being looked at again.")
        return "in_review", Told("Your report has opened a case; a person looks into it.")
    if case.outcome == CaseOutcome.DISMISSED:
        return "declined", Told("A person has looked into it and sees nothing wrong with the reply.")
    return "resolved", Told("A person has looked at it and closed the case.")


def _received(feedback: Feedback, review: Review | None) -> str:
    match feedback.kind:
        case FeedbackKind.COMMENT:
            return Told("Stored for people to read; nothing is trained on comments.")
        case FeedbackKind.SURVEY:
            return Told("Stored with the other answers for people to read; nothing is trained on surveys.")
    if feedback.training is False:
        return Told("Stored for people to read; nothing is trained on it, as you wished.")
    if review is not None and learns(review.decision):
        return Told("A person has approved it; the next dataset can use it.")
    return Told("Stored; it will be looked at when the next dataset is made.")
