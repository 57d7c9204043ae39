"""Everything that people currently say about an assistant's replies, read for curating: a million pieces in seconds.

Only columns are read, and one row is held at a time; everything said about one reply shares its exchange.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy
from sqlalchemy import ColumnElement, Select
from sqlmodel import Session, col, select

from feedback.collect.preferences import other_message_id
from feedback.curate.items import Exchange, Item
from feedback.models import (
    AdapterVersion,
    Assistant,
    Contributor,
    Conversation,
    DatasetVersion,
    Example,
    ExampleSource,
    Feedback,
    Message,
)
from feedback.review import all_reviews, is_undecided
from feedback.review.opinions import learns
from feedback.states import LEARNABLE, FeedbackKind, FeedbackStatus, MessageStatus, ReviewDecision, Side

OPEN_STATES = (FeedbackStatus.RECEIVED, FeedbackStatus.DECLINED, FeedbackStatus.IN_REVIEW)
"""What was declined or held back is looked at again for every dataset."""
ROWS_AT_ONCE = 5_000
_STRICTNESS = (Side.TRAIN, Side.DEV, Side.GATE)


def gather(session: Session, assistant: Assistant) -> list[Item]:
    """The oldest first."""
    exchanges = _Exchanges(session, assistant)
    people = session.exec(
        select(Contributor.id, Contributor.side, Contributor.quarantined_at).where(
            Contributor.assistant_id == assistant.id
        )
    ).all()
    sides = {contributor: Side(side) for contributor, side, _ in people}
    quarantined = {contributor for contributor, _, since in people if since is not None}
    earlier_sides = _earlier_sides(session, assistant)
    reviews = all_reviews(session, assistant)
    names: dict[str, str] = {}  # one string a contributor and source, not one a row
    scores: dict[float, float] = {}  # likewise
    kinds = {kind.value: kind for kind in FeedbackKind}
    items = []
    for row in _rows(session, _said(session, assistant)):
        number, word, message_id, created_at, contributor, score, value, training, source = row
        decision, edited = reviews.get(number) or (None, None)
        if decision is not None and learns(decision):
            decision = ReviewDecision.APPROVED  # an edit approves of the words that it leaves
        item = Item(
            id=number,
            kind=kinds[word],
            exchange=exchanges[message_id],
            created_at=created_at,
            contributor=names.setdefault(contributor, contributor),
            side=sides[contributor] if contributor else earlier_sides.get(number),
            training=training,
            review=decision,
            source=names.setdefault(source, source),
            quarantined=contributor in quarantined,
        )
        if item.kind == FeedbackKind.RATING:
            item.score = scores.setdefault(score, score)
        elif item.kind == FeedbackKind.CORRECTION:
            right = edited or value
            item.correction, item.key_facts = right["content"], tuple(right.get("key_facts", ()))
            item.expires_at = _moment(right.get("expires_at"))
        else:
            item.rejected, item.tie = exchanges[other_message_id(value)], value.get("tie")
        items.append(item)
    return items


def is_current(assistant: Assistant) -> tuple[ColumnElement[bool], ...]:
    """What teaches and is its giver's latest word; what reviewers haven't agreed on yet is left alone."""
    return (
        col(Feedback.assistant_id) == assistant.id,
        col(Feedback.kind).in_(LEARNABLE),
        col(Feedback.status).in_(OPEN_STATES),
        ~is_undecided(),
    )


def _said(session: Session, assistant: Assistant) -> Select[*tuple[Any, ...]]:
    columns = (
        col(Feedback.id),
        # as they are stored: a million enums and times take their time
        sqlalchemy.type_coerce(col(Feedback.kind), sqlalchemy.String),
        col(Feedback.message_id),
        _seconds(session, col(Feedback.created_at)),
        col(Feedback.contributor_id),
        col(Feedback.score),
        # a rating's is its score again
        sqlalchemy.case((col(Feedback.kind) != FeedbackKind.RATING, col(Feedback.value))),
        col(Feedback.training),
        col(Feedback.source),
    )
    return sqlalchemy.select(*columns).where(*is_current(assistant)).order_by(col(Feedback.id))


def _seconds(session: Session, moment: Any) -> Any:
    """A column of times as seconds since 1970."""
    if session.get_bind().dialect.name == "sqlite":
        days = sqlalchemy.func.julianday(moment, type_=sqlalchemy.Float)
        return sqlalchemy.func.round((days - 2440587.5) * 86400, 3, type_=sqlalchemy.Float)
    return sqlalchemy.cast(sqlalchemy.extract("epoch", moment), sqlalchemy.Float)


class _Exchanges(dict[int, Exchange]):
    """By the reply's message id; made when somebody spoke about it, from all messages of the conversations."""

    def __init__(self, session: Session, assistant: Assistant) -> None:
        super().__init__()
        versions = dict(session.exec(select(AdapterVersion.id, AdapterVersion.sha256)).all())
        self._messages: dict[int, _Message] = {}
        for number, parent, conversation, role, content, status, store, version, finish in _rows(
            session, _messages(assistant)
        ):
            self._messages[number] = _Message(
                parent,
                conversation,
                (sys.intern(role), content),
                status,
                store,
                versions.get(version),
                finish == "length",
            )

    def __missing__(self, number: int) -> Exchange:
        said = self._messages[number]
        self[number] = exchange = Exchange(
            id=number,
            conversation=said.conversation,
            history=tuple(self._before(said))[::-1],
            reply=said.turn[1],
            version=said.version,
            store=said.store,
            status=said.status,
            cut_off=said.cut_off,
        )
        return exchange

    def _before(self, said: "_Message") -> Iterator[tuple[str, str]]:
        while said.parent is not None:
            said = self._messages[said.parent]
            yield said.turn


@dataclass(slots=True)
class _Message:
    parent: int | None
    conversation: int
    turn: tuple[str, str]
    status: MessageStatus
    store: bool | None
    version: str | None
    cut_off: bool


def _messages(assistant: Assistant) -> Select[*tuple[Any, ...]]:
    # of any assistant: an index knows them all
    spoken_of = select(Message.conversation_id).where(col(Message.id).in_(select(Feedback.message_id).distinct()))
    columns = (
        col(Message.id),
        col(Message.parent_id),
        col(Message.conversation_id),
        col(Message.role),
        col(Message.content),
        col(Message.status),
        col(Message.store),
        col(Message.adapter_version_id),
        col(Message.finish_reason),
    )
    return (
        sqlalchemy.select(*columns)
        .join(Conversation, col(Conversation.id) == col(Message.conversation_id))
        .where(col(Conversation.assistant_id) == assistant.id, col(Conversation.id).in_(spoken_of.distinct()))
    )


def _rows(session: Session, wanted: Select[*tuple[Any, ...]]) -> Iterable[Any]:
    """Row by row: the whole result is never in memory."""
    return session.connection().execute(wanted.execution_options(yield_per=ROWS_AT_ONCE))


def _earlier_sides(session: Session, assistant: Assistant) -> dict[int, Side]:
    """The sides that anonymous feedback had in earlier datasets: what was learned mustn't judge, nor the reverse.

    Its question's cluster may have another name by now, and the fractions may have been changed.
    """
    found = session.exec(
        select(ExampleSource.feedback_id, Example.side)
        .join(Example, col(Example.id) == col(ExampleSource.example_id))
        .join(DatasetVersion, col(DatasetVersion.id) == col(Example.dataset_version_id))
        .join(Feedback, col(Feedback.id) == col(ExampleSource.feedback_id))
        .where(
            DatasetVersion.assistant_id == assistant.id,
            col(Feedback.contributor_id).is_(None),
        )
        .distinct()
    )
    sides: dict[int, Side] = {}
    for number, side in found:
        if number not in sides or _STRICTNESS.index(side) > _STRICTNESS.index(sides[number]):
            sides[number] = Side(side)
    return sides


def _moment(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()
