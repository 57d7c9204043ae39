"""Whether what people ask, get and say has changed since the release before: the population stability index.

PSI = Σ (pᵢ - qᵢ)·ln(pᵢ/qᵢ) over the same buckets before and after (Siddiqi 2006, "Credit Risk Scorecards"); by custom
0.1 is a shift to look at and 0.25 a large one. Chance alone makes about (k-1)·(1/n + 1/m) of it with k buckets and n
and m pieces, which is told beside it and must be passed as well. Promises shares alone: a topic's name is words that
five questions have in common. Leaves out what caused it.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

from pydantic import BaseModel
from sqlmodel import Session, col, select

from feedback import audit, releases
from feedback.columns import now
from feedback.database import in_portions
from feedback.models import Assistant, AuditEntry, Conversation, Feedback, Message, Release
from feedback.states import FeedbackKind, MessageStatus
from feedback.webhooks import hooks

SHIFT, LARGE = 0.1, 0.25
LEAST = 100
"""Fewer pieces in either period tell nothing."""
SAMPLE = 5_000
"""Replies of a period that are looked at, the newest."""
TOPICS = 8
LENGTHS = (20, 50, 100, 200, 400, 800, 1_600)
"""Characters between which lengths are counted."""


class Drift(BaseModel):
    """One thing that people or replies do, in shares of what it may be, before and after."""

    what: str
    before: dict[str, float]
    after: dict[str, float]
    pieces: tuple[int, int]
    psi: float | None = None
    """None: too few pieces to tell."""
    by_chance: float = 0.0

    @property
    def tell(session: Session, assistant: Assistant, report: DriftReport) -> list[Drift]:
    """Tell of what has drifted far, once a release: in the audit log and to webhooks, which hear no topic's words.
    Returns what is new."""
    told = select(AuditEntry.subject).where(
        AuditEntry.action == "alert.drift", col(AuditEntry.created_at) >= report.since
    )
    known = set(session.exec(told))
    fresh = [one for one in report.found if one.alert and f"{assistant.name}: {one.what}" not in known]
    for one in fresh:
        psi = round(one.psi or 0.0, 3)
        audit.record(session, "housekeeping", "alert.drift", f"{assistant.name}: {one.what}", psi=psi)
        hooks.tell(session, assistant, "alert.drift", what=one.what, psi=psi)
    return fresh
