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
    def alert(self) -> bool:
        return self.psi is not None and self.psi >= LARGE and self.psi > 3 * self.by_chance


class DriftReport(BaseModel):
    since: datetime
    """When the release began that serves."""
    compared_with: datetime
    """When the period before that began."""
    found: list[Drift]


def drift(session: Session, assistant: Assistant) -> DriftReport | None:
    """Since the live release against the time of the one before; None where nothing served before."""
    current = releases.live(session, assistant).release
    if current.live_at is None:
        return None
    earlier = select(Release).where(Release.assistant_id == assistant.id, col(Release.live_at) < current.live_at)
    before = session.exec(earlier.order_by(col(Release.live_at).desc()).limit(1)).first()
    if before is None or before.live_at is None:
        return None
    since, began = current.live_at, before.live_at
    periods = (_Period(session, assistant, began, since), _Period(session, assistant, since, now()))
    topic = _topics(periods)
    kinds: dict[str, Callable[[_Period], list[str]]] = {
        "topics": lambda period: topic(period.questions),
        "lengths of questions": lambda period: [_length(text) for text in period.questions],
        "lengths of replies": lambda period: [_length(text) for text in period.replies],
        "how replies end": lambda period: period.ends,
        "ratings": lambda period: period.ratings,
    }
    return DriftReport(
        since=since,
        compared_with=began,
        found=[compare(what, *(kind(period) for period in periods)) for what, kind in kinds.items()],
    )


def compare(what: str, before: Sequence[str], after: Sequence[str]) -> Drift:
    """
    >>> found = compare("ratings", ["good"] * 80 + ["bad"] * 20, ["good"] * 50 + ["bad"] * 50)
    >>> round(found.psi, 2), round(found.by_chance, 2), found.alert  # 0.3·ln(1.6) + 0.3·ln(2.5), a little smoothed
    (0.41, 0.02, True)
    >>> compare("ratings", ["good"] * 99, ["bad"] * 200).psi is None
    True
    """
    counts = Counter(before), Counter(after)
    buckets = sorted(counts[0].keys() | counts[1].keys(), key=_order)
    shares = [{one: count[one] / max(1, count.total()) for one in buckets} for count in counts]
    pieces = (len(before), len(after))
    found = Drift(what=what, before=shares[0], after=shares[1], pieces=pieces)
    if min(pieces) < LEAST:
        return found
    smoothed = [[(count[one] + 0.5) / (count.total() + 0.5 * len(buckets)) for one in buckets] for count in counts]
    found.psi = math.fsum((q - p) * math.log(q / p) for p, q in zip(*smoothed, strict=True))
    found.by_chance = (len(buckets) - 1) * (1 / pieces[0] + 1 / pieces[1])
    return found


class _Period:
    """What was asked, replied and rated in it; as much as tells."""

    def __init__(self, session: Session, assistant: Assistant, start: datetime, end: datetime) -> None:
        ours = select(Conversation.id).where(
            Conversation.assistant_id == assistant.id, col(Conversation.ui_task).is_(False)
        )
        said = (
            select(Message.parent_id, Message.content, Message.finish_reason)
            .where(
                col(Message.conversation_id).in_(ours),
                Message.status == MessageStatus.COMPLETE,
                col(Message.completion_id).is_not(None),
                col(Message.adapter_version_id).is_not(None),
                col(Message.created_at) >= start,
                col(Message.created_at) < end,
            )
            .order_by(col(Message.id).desc())
            .limit(SAMPLE)
        )
        found = session.exec(said).all()
        self.replies = [content for _, content, _ in found]
        self.ends = ["cut off" if reason == "length" else "ended" for _, _, reason in found]
        parents = {parent for parent, _, _ in found if parent is not None}
        self.questions = _contents(session, sorted(parents))
        rated = select(Feedback.score).where(
            Feedback.assistant_id == assistant.id,
            Feedback.kind == FeedbackKind.RATING,
            col(Feedback.created_at) >= start,
            col(Feedback.created_at) < end,
            col(Feedback.imported_at).is_(None),
        )
        newest = rated.order_by(col(Feedback.id).desc()).limit(SAMPLE)
        self.ratings = ["good" if (score or 0) > 0 else "bad" for score in session.exec(newest)]


def _contents(session: Session, ids: Sequence[int]) -> list[str]:
    return [
        content
        for some in in_portions(ids)
        for content in session.exec(select(Message.content).where(col(Message.id).in_(some)).order_by(col(Message.id)))
    ]


def _topics(periods: Sequence[_Period]) -> Callable[[Sequence[str]], list[str]]:
    """Clusters of both periods' questions together."""
    from feedback.curate.topics import Topics

    return Topics.among([text for period in periods for text in period.questions], TOPICS).of


def _length(text: str) -> str:
    """
    >>> _length("a" * 30), _length("a" * 5000)
    ('20 to 49', '1600 or more')
    """
    below = 0
    for edge in LENGTHS:
        if len(text) < edge:
            return f"{below} to {edge - 1}"
        below = edge
    return f"{below} or more"


def _order(bucket: str) -> tuple[int, str]:
    first = bucket.split()[0]
    return (int(first), "") if first.isdigit() else (0, bucket)


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
