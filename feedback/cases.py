"""The life of a case: what reports about one reply open, and people look into. All its transitions are here.

open → investigating   somebody takes it; handing it back opens it again
open, investigating → resolved   with an outcome and, if there is one, an answer to the reporters
resolved → open        a new report about the same reply, or a person who thinks again

Every change leaves an audit entry, none with text in it. What the reporters are told is review/reports.py's.
"""

import secrets
from collections.abc import Sequence

from sqlmodel import Session, col, func, select

from feedback import audit
from feedback.collect.reports import CATEGORIES
from feedback.columns import now
from feedback.errors import Conflict, InvalidInput, NotFound
from feedback.models import Assistant, Feedback, ReportCase
from feedback.states import CaseOutcome, CaseStatus, FeedbackKind


def report_came_in(session: Session, report: Feedback, category: str, *, actor: str) -> ReportCase:
    """Open a case about the reply, or open the resolved one again; a case that is open takes the report in."""
    case = of_reply(session, report.message_id, lock=True)
    if case is not None:
        reopen(session, case, actor=actor)
        return case
    case = ReportCase(
        public_id=f"case-{secrets.token_hex(12)}",
        assistant_id=report.assistant_id,
        message_id=report.message_id,
        category=category,
    )
    session.add(case)
    session.flush()
    audit.record(session, actor, "case.open", case.public_id, category=category)
    return case


def take(session: Session, case: ReportCase, *, actor: str, take_over: bool = False) -> None:
    if case.status == CaseStatus.RESOLVED:
        raise Conflict(f"{case.public_id} is resolved: open it again first.", param="status")
    require_own(case, actor, take_over)
    if case.status == CaseStatus.INVESTIGATING and case.assignee == actor:
        return
    case.status, case.assignee = CaseStatus.INVESTIGATING, actor
    audit.record(session, actor, "case.take", case.public_id)


def hand_back(session: Session, case: ReportCase, *, actor: str, take_over: bool = False) -> None:
    """Let somebody else take it."""
    if case.status != CaseStatus.INVESTIGATING:
        return
    require_own(case, actor, take_over)
    case.status, case.assignee = CaseStatus.OPEN, None
    audit.record(session, actor, "case.hand_back", case.public_id)


def resolve(
    session: Session, case: ReportCase, outcome: CaseOutcome, *, answer: str | None, actor: str, take_over: bool = False
) -> None:
    """Decide it; a resolved one may be decided otherwise by whoever resolved it."""
    if (case.status, case.outcome, case.answer) == (CaseStatus.RESOLVED, outcome, answer):
        return
    require_own(case, actor, take_over)
    case.status, case.outcome, case.answer = CaseStatus.RESOLVED, outcome, answer
    case.assignee, case.resolved_at = actor, now()
    audit.record(session, actor, "case.resolve", case.public_id, outcome=outcome)


def reopen(session: Session, case: ReportCase, *, actor: str) -> None:
    """The earlier answer stays, for those who got it, until there is another."""
    if case.status != CaseStatus.RESOLVED:
        return
    case.status, case.outcome, case.assignee, case.resolved_at = CaseStatus.OPEN, None, None, None
    audit.record(session, actor, "case.reopen", case.public_id)


def change_category(session: Session, case: ReportCase, category: str, *, actor: str) -> None:
    if category not in CATEGORIES:
        raise InvalidInput(f"A case's category is one of {', '.join(CATEGORIES)}.", param="category")
    if category != case.category:
        audit.record(session, actor, "case.category", case.public_id, before=case.category, after=category)
        case.category = category


def add_note(session: Session, case: ReportCase, text: str, *, actor: str) -> None:
    """For the people who look into it, never for the reporters. A repeated request adds it once."""
    last = case.notes[-1] if case.notes else {}
    if (last.get("by"), last.get("text")) == (actor, text):
        return
    case.notes = [*case.notes, {"at": now().isoformat(), "by": actor, "text": text}]
    audit.record(session, actor, "case.note", case.public_id)


def of_reply(session: Session, message_id: int, *, lock: bool = False) -> ReportCase | None:
    """The case about a reply. Who changes case and reports locks the case first."""
    found = select(ReportCase).where(ReportCase.message_id == message_id)
    if lock:
        found = found.with_for_update(key_share=True).execution_options(populate_existing=True)
    return session.exec(found).first()


def get_case(
    session: Session, public_id: str, assistant_ids: frozenset[int] | None = None, *, lock: bool = False
) -> ReportCase:
    found = select(ReportCase).where(ReportCase.public_id == public_id)
    case = session.exec(found.with_for_update(key_share=True) if lock else found).first()
    if case is None or (assistant_ids is not None and case.assistant_id not in assistant_ids):
        raise NotFound(f"No case '{public_id}': `burnish case list ASSISTANT` shows what there is.", param="id")
    return case


def list_cases(
    session: Session,
    assistant: Assistant,
    *,
    status: CaseStatus | None = None,
    category: str | None = None,
    assignee: str | None = None,
    after: str | None = None,
    limit: int = 50,
) -> list[ReportCase]:
    """Oldest first; `after` is the last case of the page before."""
    chosen = select(ReportCase).where(ReportCase.assistant_id == assistant.id)
    if status is not None:
        chosen = chosen.where(ReportCase.status == status)
    if category is not None:
        chosen = chosen.where(ReportCase.category == category)
    if assignee is not None:
        chosen = chosen.where(ReportCase.assignee == assignee)
    if after is not None:
        chosen = chosen.where(col(ReportCase.id) > get_case(session, after, frozenset({assistant.id})).id)
    return list(session.exec(chosen.order_by(col(ReportCase.id)).limit(limit)))


def reports_of(session: Session, case: ReportCase, *, newest: int | None = None) -> Sequence[Feedback]:
    """All of them, or only so many of the `newest`; the oldest first."""
    found = select(Feedback).where(Feedback.message_id == case.message_id, Feedback.kind == FeedbackKind.REPORT)
    return session.exec(found.order_by(col(Feedback.id).desc()).limit(newest)).all()[::-1]


def count_reports(session: Session, case: ReportCase) -> int:
    found = select(func.count()).where(Feedback.message_id == case.message_id, Feedback.kind == FeedbackKind.REPORT)
    return session.exec(found).one()


def require_own(case: ReportCase, actor: str, take_over: bool = False) -> None:
    """Raise Conflict if somebody else has it."""
    if case.assignee not in (None, actor) and not take_over:
        raise Conflict(
            f"{case.assignee} has {case.public_id}: ask them to hand it back, or take it over.", param="take_over"
        )
