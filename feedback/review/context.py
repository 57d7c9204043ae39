"""A piece of feedback in the conversation that it is about: what led to the reply, what followed, what others said."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from sqlmodel import Session, col, select

from feedback import adapters, cases
from feedback.conversations import ChatMessage
from feedback.models import AdapterVersion, Assistant, Feedback, Message
from feedback.review import entries
from feedback.review.entries import CaseShown, Entry
from feedback.states import FeedbackKind, FeedbackStatus

MOST_LATER = 100
"""Messages of the conversation after the reply that are looked at."""
MOST_OTHERS = 50
"""Pieces of feedback on the same reply, the newest."""


class OtherSaid(BaseModel):
    id: str
    kind: FeedbackKind
    value: dict[str, Any]
    comment: str | None
    tags: list[str]
    status: FeedbackStatus
    status_reason: str | None
    contributor: str | None
    created_at: datetime


class InContext(Entry):
    assistant: str
    status_reason: str | None
    version: str | None
    """The adapter version that wrote the reply; None: it was imported."""
    replied_at: datetime
    later: list[ChatMessage]
    """How the conversation went on from the reply."""
    siblings: list[str]
    """Other replies to the same message."""
    others: list[OtherSaid]
    """What else was said about the reply."""


def read(session: Session, feedback: Feedback, *, actor: str) -> InContext:
    """As `actor` may see it."""
    assistant = session.get_one(Assistant, feedback.assistant_id)
    reply = session.get_one(Message, feedback.message_id)
    entry = entries.entries(session, assistant, [feedback], actor=actor)[0]
    version = session.get(AdapterVersion, reply.adapter_version_id) if reply.adapter_version_id else None
    case = cases.of_reply(session, reply.id)
    said = {
        **dict(entry),
        "case": CaseShown(id=case.public_id, category=case.category, status=case.status) if case else None,
    }
    return InContext(
        **said,
        assistant=assistant.name,
        status_reason=feedback.status_reason,
        version=adapters.label_of(session, version) if version else None,
        replied_at=reply.created_at,
        later=_later(session, reply),
        siblings=[one.content for one in _siblings(session, reply)],
        others=[_other(one) for one in _others(session, feedback)],
    )


def _later(session: Session, reply: Message) -> list[ChatMessage]:
    """Along the newest answer each time: that is the one that its person went on with."""
    after = session.exec(
        select(Message)
        .where(Message.conversation_id == reply.conversation_id, col(Message.id) > reply.id)
        .order_by(col(Message.id))
        .limit(MOST_LATER)
    ).all()
    children: dict[int | None, list[Message]] = defaultdict(list)
    for message in after:
        children[message.parent_id].append(message)
    went_on: list[ChatMessage] = []
    here = reply.id
    while here in children:
        newest = children[here][-1]
        went_on.append({"role": newest.role, "content": newest.content})
        here = newest.id
    return went_on


def _siblings(session: Session, reply: Message) -> Sequence[Message]:
    found = select(Message).where(
        Message.parent_id == reply.parent_id,
        Message.id != reply.id,
        Message.role == "assistant",
        col(Message.completion_id).is_not(None),
    )
    return session.exec(found.order_by(col(Message.id)).limit(MOST_OTHERS)).all()


def _others(session: Session, feedback: Feedback) -> Sequence[Feedback]:
    found = select(Feedback).where(Feedback.message_id == feedback.message_id, Feedback.id != feedback.id)
    return session.exec(found.order_by(col(Feedback.id).desc()).limit(MOST_OTHERS)).all()


def _other(one: Feedback) -> OtherSaid:
    fields = {name: getattr(one, name) for name in OtherSaid.model_fields if name not in ("id", "contributor", "value")}
    shown = entries.value_shown(one.value)
    return OtherSaid(id=one.public_id, contributor=one.contributor_id, value=shown, **fields)
