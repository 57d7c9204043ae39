"""How much an assistant is used, and how its people like it: counts by day, and the share of kind ratings.

Each look is bounded, however much there is: by days, or by the newest ratings. Leaves out drift (drift.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import func
from sqlmodel import Session, col, select

from feedback.columns import now
from feedback.models import AdapterVersion, Assistant, Feedback, Message
from feedback.review.agreement import wilson
from feedback.states import FeedbackKind, FeedbackStatus

DAYS = 14
Counts = dict[date, int]
NEWEST_RATINGS = 1000
NEWEST_OF_A_DAY = 200


@dataclass(frozen=True)
class Satisfaction:
    """The share of ratings that are kind, with its 95 % interval."""

    ratings: int
    share: float | None
    lower: float | None
    upper: float | None


def replies_by_day(session: Session, assistant: Assistant, known: Counts, days: int = DAYS) -> Counts:
    """Of the last `days`, today included, oldest first; days without any are 0. Days that are over are counted once:
    `known` remembers them."""
    today = now().date()
    versions = session.exec(select(AdapterVersion.id).where(AdapterVersion.assistant_id == assistant.id)).all()
    shown = [today - timedelta(days=n) for n in reversed(range(days))]
    counts = {day: known[day] if day in known else _replies(session, versions, day) for day in shown}
    known |= {day: count for day, count in counts.items() if day < today}
    return counts


def satisfaction_by_day(session: Session, assistant: Assistant, days: int = DAYS) -> dict[date, Satisfaction]:
    """The same for each of the last `days`, over the newest ratings that came in on it, `NEWEST_OF_A_DAY` at most."""
    today = now().date()
    found = {}
    for one in (today - timedelta(days=back) for back in reversed(range(days))):
        midnight = datetime.combine(one, time(), UTC)
        found[one] = _of(session, assistant, NEWEST_OF_A_DAY, midnight, midnight + timedelta(days=1))
    return found


def satisfaction(session: Session, assistant: Assistant) -> Satisfaction:
    """Over the newest ratings that stand, a thousand at most; one of 0 (three stars) counts half.

    The interval is Wilson's (1927, J. Am. Stat. Assoc. 22:209), which holds near 0 and 1 and for few ratings.
    """
    return _of(session, assistant, NEWEST_RATINGS)


def _of(
    session: Session, assistant: Assistant, most: int, since: datetime | None = None, until: datetime | None = None
) -> Satisfaction:
    came_in = func.coalesce(col(Feedback.imported_at), col(Feedback.created_at))
    chosen = select(Feedback.score).where(
        Feedback.assistant_id == assistant.id,
        Feedback.kind == FeedbackKind.RATING,
        Feedback.status != FeedbackStatus.REPLACED,
    )
    if since is not None:
        chosen = chosen.where(came_in >= since, came_in < until)
    scores = session.exec(chosen.order_by(came_in.desc()).limit(most)).all()
    if not scores:
        return Satisfaction(0, None, None, None)
    liked = sum((score or 0.0) > 0 for score in scores) + 0.5 * sum(score == 0 for score in scores)
    share = liked / len(scores)
    return Satisfaction(len(scores), share, *wilson(share, len(scores)))


def _replies(session: Session, versions: Sequence[int], day: date) -> int:
    """Counted in an index alone: as a range of each version's."""
    begins = datetime.combine(day, time(), UTC)
    written = select(func.count()).select_from(Message)
    since, until = col(Message.created_at) >= begins, col(Message.created_at) < begins + timedelta(days=1)
    return sum(
        session.exec(written.where(col(Message.adapter_version_id) == version, since, until)).one()
        for version in versions
    )
