"""Reports and their case hold together: deciding on one resolves the case, and resolving it answers all reporters."""

from sqlmodel import Session, col, select

from feedback import cases
from feedback.errors import InvalidInput
from feedback.models import Feedback, ReportCase, Review
from feedback.review.opinions import status_after
from feedback.states import CaseOutcome, CaseStatus, ReviewDecision

_OUTCOMES = {
    ReviewDecision.APPROVED: CaseOutcome.UPHELD,
    ReviewDecision.REJECTED: CaseOutcome.DISMISSED,
}
_DECISIONS = {outcome: decision for decision, outcome in _OUTCOMES.items()}


def resolve(
    session: Session,
    case: ReportCase,
    outcome: CaseOutcome,
    *,
    answer: str | None,
    actor: str,
    take_over: bool = False,
) -> None:
    """Resolve the (locked) case and tell everybody who reported the reply."""
    cases.resolve(session, case, outcome, answer=answer, actor=actor, take_over=take_over)
    for report in cases.reports_of(session, case):
        settle(session, report, outcome, answer, actor=actor)


def change(
    session: Session,
    case: ReportCase,
    *,
    actor: str,
    status: CaseStatus | None = None,
    outcome: CaseOutcome | None = None,
    answer: str | None = None,
    category: str | None = None,
    note: str | None = None,
    take_over: bool = False,
) -> None:
    """Bring the (locked) case into the state that is asked for. The same again changes nothing."""
    if (outcome is not None) != (status == CaseStatus.RESOLVED):
        raise InvalidInput(
            "`outcome` (upheld or dismissed) goes with the status 'resolved', and only there.", param="outcome"
        )
    if answer is not None and outcome is None:
        raise InvalidInput("`answer` goes with the status 'resolved'.", param="answer")
    if category is not None:
        cases.change_category(session, case, category, actor=actor)
    if note is not None:
        cases.add_note(session, case, note, actor=actor)
    if outcome is not None:
        resolve(session, case, outcome, answer=answer, actor=actor, take_over=take_over)
    elif status == CaseStatus.INVESTIGATING:
        cases.take(session, case, actor=actor, take_over=take_over)
    elif status == CaseStatus.OPEN:
        cases.hand_back(session, case, actor=actor, take_over=take_over)
        cases.reopen(session, case, actor=actor)


def follow(session: Session, report: Feedback, counting: Review | None, *, actor: str) -> None:
    """After a decision on `report`: its case goes with it."""
    case = cases.of_reply(session, report.message_id)
    if case is None:
        return
    if counting is None:
        if case.status == CaseStatus.RESOLVED:
            cases.reopen(session, case, actor=actor)
        return
    outcome = _OUTCOMES[counting.decision]
    cases.resolve(session, case, outcome, answer=counting.note, actor=actor, take_over=True)
    for other in cases.reports_of(session, case):
        if other.id != report.id:
            settle(session, other, outcome, counting.note, actor=actor)


def settle(session: Session, report: Feedback, outcome: CaseOutcome, answer: str | None, *, actor: str) -> None:
    """Tell one reporter how the case ended."""
    decision = _DECISIONS[outcome]
    told = session.exec(select(Review).where(Review.feedback_id == report.id, col(Review.counts).is_(True))).first()
    if told is None or (told.decision, told.note) != (decision, answer):
        if told is not None:
            told.counts = False
            session.flush()  # only one may count at any time
        review = Review(feedback_id=report.id, decision=decision, note=answer, actor=actor, final=True, counts=True)
        session.add(review)
    report.status, report.status_reason = status_after(decision, answer)
    report.claimed_by = report.claimed_until = None
    session.add(report)
    session.flush()
