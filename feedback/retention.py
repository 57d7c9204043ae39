"""Conversations older than their assistant keeps them go, with all feedback on them and the rows made of that.

A conversation is as old as its last message; an imported one as old as its import. What versions learned from it stays
learned, so they aren't tainted. In small transactions, each of which leaves an erasure's record and an audit entry.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from sqlmodel import Session, col, select

from feedback import assistants
from feedback.columns import now
from feedback.database import Database
from feedback.erasure.erase import erase, preview
from feedback.erasure.subjects import Subject
from feedback.errors import Conflict, NotFound
from feedback.models import Assistant, Conversation, Feedback, Message
from feedback.states import ErasureKind

CONVERSATIONS_AT_ONCE = 500
"""In a transaction: on SQLite nobody else writes meanwhile."""
ACTOR = "retention"


@dataclass(frozen=True)
class TooOld:
    """What is older than it is kept."""

    since: datetime | None
    """From when on everything stays; None: it does for ever."""
    counts: dict[str, int]
    """Rows by table."""
    datasets: list[str]
    more: bool
    """There is more than was looked at."""


def enforce(database: Database) -> int:
    """Erase what is too old; returns how many conversations went. Where a run is freezing a dataset, next time."""
    with database.read() as session:
        limits = [(one, kept_since(one)) for one in assistants.list_assistants(session)]
    gone = 0
    for assistant, since in limits:
        if since is not None:
            with suppress(Conflict):
                for portion in _portions(database, assistant, since):
                    with suppress(NotFound):  # somebody else was as quick, or all of them went on
                        still = partial(_still_too_old, assistant=assistant, since=since, portion=portion)
                        _, done = erase(database, assistant, still, actor=ACTOR)
                        gone += done.counts["conversation"]
    return gone


def would_erase(
    session: Session, assistant: Assistant, *, since: datetime | None = None, most: int | None = None
) -> TooOld:
    """What `enforce` would do now, or with another limit; changes nothing. `most`: portions that it looks at."""
    since = since or kept_since(assistant)
    counts: Counter[str] = Counter()
    datasets: set[str] = set()
    after = looked_at = 0
    while since is not None and (portion := _too_old(session, assistant, since, after)):
        if looked_at == most:
            return TooOld(since, dict(counts), sorted(datasets, key=_number), more=True)
        found = preview(session, assistant, _subject(since, portion))
        counts.update(found.counts)
        datasets.update(found.datasets)
        after = portion[-1]
        looked_at += 1
    return TooOld(since, dict(counts), sorted(datasets, key=_number), more=False)


def kept_since(assistant: Assistant) -> datetime | None:
    days = assistants.policies(assistant).retention.message_days
    return None if days is None else since_days(days)


def since_days(days: int) -> datetime:
    return now() - timedelta(days=days)


def _portions(database: Database, assistant: Assistant, since: datetime) -> Iterator[list[int]]:
    after = 0
    while True:
        with database.read() as session:
            portion = _too_old(session, assistant, since, after)
        if not portion:
            return
        yield portion
        after = portion[-1]


def _too_old(session: Session, assistant: Assistant, since: datetime, after: int) -> list[int]:
    newer = select(Message.id).where(Message.conversation_id == Conversation.id, col(Message.created_at) >= since)
    imported = (
        select(Feedback.id)
        .join(Message, col(Message.id) == col(Feedback.message_id))
        .where(Message.conversation_id == Conversation.id, col(Feedback.imported_at) >= since)
    )
    return list(
        session.exec(
            select(Conversation.id)
            .where(
                Conversation.assistant_id == assistant.id,
                col(Conversation.created_at) < since,
                Conversation.id > after,
                ~newer.exists(),
                ~imported.exists(),
            )
            .order_by(col(Conversation.id))
            .limit(CONVERSATIONS_AT_ONCE)
        )
    )


def _still_too_old(session: Session, assistant: Assistant, since: datetime, portion: list[int]) -> Subject:
    """Those of `portion` that nobody went on with since it was looked up; from now on nobody can."""
    connection = session.connection()
    for held in (
        select(Conversation.id).where(col(Conversation.id).in_(portion)).order_by(col(Conversation.id)),
        select(Message.id).where(col(Message.conversation_id).in_(portion)).order_by(col(Message.id)),
    ):
        connection.execute(held.with_for_update())
    old = set(_too_old(session, assistant, since, portion[0] - 1))
    return _subject(since, [one for one in portion if one in old])


def _subject(since: datetime, conversations: list[int]) -> Subject:
    return Subject(ErasureKind.RETENTION, f"before {since.isoformat()}", conversations=conversations)


def _number(label: str) -> int:
    return int(label.removeprefix("v"))
