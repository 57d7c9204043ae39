"""What a reviewer sees of a case: the reply, what led to it, and what was reported about it, the newest of a flood."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from sqlmodel import Session

from feedback import cases
from feedback.conversations import ChatMessage, histories
from feedback.models import Feedback, Message, ReportCase
from feedback.states import CaseOutcome, CaseStatus, FeedbackStatus

SHOWN_REPORTS = 50
"""Of a case, the newest: anybody may report a reply any number of times."""


class ReportShown(BaseModel):
    id: str
    category: str
    comment: str | None
    contributor: str | None
    status: FeedbackStatus
    created_at: datetime


class CaseRead(BaseModel):
    id: str
    category: str
    status: CaseStatus
    outcome: CaseOutcome | None
    assignee: str | None
    answer: str | None
    notes: list[dict[str, Any]]
    reports: list[ReportShown]
    reports_total: int
    completion_id: str | None
    choice: int
    conversation: list[ChatMessage]
    reply: str
    created_at: datetime
    resolved_at: datetime | None


def read(session: Session, found: Sequence[ReportCase]) -> list[CaseRead]:
    replies = {case.id: session.get_one(Message, case.message_id) for case in found}
    asked = histories(session, replies.values())
    return [
        CaseRead(
            id=case.public_id,
            category=case.category,
            status=case.status,
            outcome=case.outcome,
            assignee=case.assignee,
            answer=case.answer,
            notes=case.notes,
            reports=[_report(one) for one in cases.reports_of(session, case, newest=SHOWN_REPORTS)],
            reports_total=cases.count_reports(session, case),
            completion_id=replies[case.id].completion_id,
            choice=replies[case.id].choice_index,
            conversation=asked[case.message_id],
            reply=replies[case.id].content,
            created_at=case.created_at,
            resolved_at=case.resolved_at,
        )
        for case in found
    ]


def _report(one: Feedback) -> ReportShown:
    return ReportShown(
        id=one.public_id,
        category=one.value["category"],
        comment=one.comment,
        contributor=one.contributor_id,
        status=one.status,
        created_at=one.created_at,
    )
