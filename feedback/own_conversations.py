"""A person's own conversations: list, search, read as a thread, rename, take away, take out for good.

A person is who an app calls so under its key (`user`); without a name it is whoever holds the key. What isn't theirs is
not there: nobody can tell it from what never was. Leaves out chatting itself (conversations.py) and what can be said
about replies (collect/).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel
from sqlalchemy import ColumnElement, and_, case, or_
from sqlmodel import Session, col, func, select

from feedback import assistants
from feedback.adapters import label_of
from feedback.collect.comparisons import is_comparison
from feedback.columns import is_storable
from feedback.contributors import contributor_id
from feedback.database import Database
from feedback.erasure.erase import Consequences, erase
from feedback.erasure.subjects import OWN_LABEL, Subject
from feedback.errors import InvalidInput, NotFound
from feedback.keys import Caller
from feedback.models import AdapterVersion, Assistant, Conversation, Erasure, Feedback, Message
from feedback.states import ErasureKind, FeedbackKind, FeedbackStatus, MessageStatus

MOST_TITLE = 120
_TITLE_FROM_WORDS = 60
"""Characters of the first question that stand for a title."""


@dataclass(frozen=True)
class Person:
    secret: bytes
    caller: Caller
    user: str | None

    def as_giver(self, assistant_id: int) -> str:
        """As feedback has it; conversations have none for the key's holder."""
        return contributor_id(self.secret, assistant_id, self.caller.api_key_id, self.user)


class OwnConversation(BaseModel):
    id: str
    """The client's own id, or `conv-…`: where it gave none, or has called a newer one of another assistant the same."""
    assistant: str
    title: str
    created_at: datetime


class OwnFeedback(BaseModel):
    """What the person currently says about a reply."""

    id: str
    kind: FeedbackKind
    value: dict[str, object]
    comment: str | None
    tags: list[str]
    status: FeedbackStatus
    created_at: datetime


class OwnMessage(BaseModel):
    role: str
    content: str
    status: MessageStatus
    created_at: datetime
    parent: int | None
    number: int
    """Within the export or thread; a reply's `parent` is the number of the message that it answers."""
    completion_id: str | None
    choice: int
    model: str | None
    """The version that wrote it; None for a blind reply that wasn't chosen from yet, and for what a client sent."""
    learnable: bool
    """Whether it wasn't kept out of training."""
    feedback: list[OwnFeedback]


class OwnThread(OwnConversation):
    messages: list[OwnMessage]


def list_own(
    session: Session,
    person: Person,
    *,
    assistant: Assistant | None = None,
    search: str | None = None,
    beginning: str | None = None,
    after: str | None = None,
    limit: int = 30,
) -> list[OwnConversation]:
    """The newest first. `beginning`: of the clients' ids, to tell one client's from others under the same key."""
    wanted = select(Conversation).where(_is_own(session, person), col(Conversation.ui_task).is_(False))
    if assistant is not None:
        wanted = wanted.where(Conversation.assistant_id == assistant.id)
    if beginning is not None:
        wanted = wanted.where(col(Conversation.external_id).startswith(beginning, autoescape=True))
    if search:
        said = select(Message.id).where(
            col(Message.conversation_id) == col(Conversation.id),
            col(Message.content).icontains(search, autoescape=True),
        )
        wanted = wanted.where(or_(col(Conversation.title).icontains(search, autoescape=True), said.exists()))
    if after is not None:
        wanted = wanted.where(col(Conversation.id) < get_own(session, person, after).id)
    found = session.exec(wanted.order_by(col(Conversation.id).desc()).limit(limit)).all()
    return _summaries(session, person, found)


def next_own(session: Session, person: Person, *, below: int | None, beginning: str | None) -> Conversation | None:
    """The newest that is older than the conversation of that number: whatever clients call theirs, each comes once."""
    wanted = select(Conversation).where(_is_own(session, person), col(Conversation.ui_task).is_(False))
    if beginning is not None:
        wanted = wanted.where(col(Conversation.external_id).startswith(beginning, autoescape=True))
    if below is not None:
        wanted = wanted.where(col(Conversation.id) < below)
    return session.exec(wanted.order_by(col(Conversation.id).desc()).limit(1)).first()


def get_own(session: Session, person: Person, label: str, *, lock: bool = False) -> Conversation:
    """By its client's id, else as `conv-…`; the newest, where the client talks to several assistants under one id."""
    called = col(Conversation.external_id) == label
    named, number = called, label.removeprefix(OWN_LABEL)
    if label.startswith(OWN_LABEL) and number.isascii() and number.isdigit() and len(number) < 19:
        named = or_(called, col(Conversation.id) == int(number))
    first = case((called, 0), else_=1), col(Conversation.id).desc()
    chosen = select(Conversation).where(_is_own(session, person), named).order_by(*first).limit(1)
    found = session.exec(chosen.with_for_update() if lock else chosen).first()
    if found is None:
        raise NotFound(f"You have no conversation '{label}'.", param="conversation", code="conversation_not_found")
    return found


def summary(session: Session, person: Person, conversation: Conversation) -> OwnConversation:
    return _summaries(session, person, [conversation])[0]


def read(session: Session, person: Person, conversation: Conversation) -> OwnThread:
    """All of it, every answer to each message among it, oldest first."""
    messages = session.exec(
        select(Message).where(Message.conversation_id == conversation.id).order_by(col(Message.id))
    ).all()
    said = _feedback(session, person, conversation, [message.id for message in messages])
    numbers = {message.id: number for number, message in enumerate(messages)}
    blind = _unchosen(messages, said)
    models = {
        version: label_of(session, session.get_one(AdapterVersion, version))
        for version in {message.adapter_version_id for message in messages if message.adapter_version_id is not None}
    }
    return OwnThread(
        **dict(summary(session, person, conversation)),
        messages=[
            OwnMessage(
                role=message.role,
                content=message.content,
                status=message.status,
                created_at=message.created_at,
                parent=numbers.get(message.parent_id) if message.parent_id is not None else None,
                number=numbers[message.id],
                completion_id=message.completion_id,
                choice=message.choice_index,
                model=None if message.id in blind else models.get(message.adapter_version_id or -1),
                learnable=message.store is not False,
                feedback=[_own_feedback(one) for one in said if one.message_id == message.id],
            )
            for message in messages
        ],
    )


def rename(session: Session, person: Person, label: str, title: str) -> Conversation:
    """An empty title gives it back the words that it began with."""
    title = " ".join(title.split())
    if len(title) > MOST_TITLE or not is_storable(title):
        raise InvalidInput(f"A title has {MOST_TITLE} characters at most, none of them NUL.", param="title")
    found = get_own(session, person, label, lock=True)
    found.title = title or None
    return found


def erase_own(database: Database, person: Person, label: str) -> tuple[Erasure, Consequences]:
    """Take a conversation out for good, with everything said about it, as docs/erasure.md tells."""
    with database.read() as session:
        found = get_own(session, person, label)
        assistant = session.get_one(Assistant, found.assistant_id)
    subject = Subject(ErasureKind.CONVERSATION, str(found.id), conversations=[found.id])
    return erase(database, assistant, subject, actor=person.caller.actor if person.user is None else "giver")


def erase_person(database: Database, person: Person) -> list[Erasure]:
    """Everything of a person who has a name, with every assistant. Raises InvalidInput for the holder of a key."""
    if person.user is None:
        raise InvalidInput(
            "What is said with a key in nobody's name goes by its conversation: take these out one by one, or have an "
            "operator do it."
        )
    with database.read() as session:
        known = [one for one in assistants.list_assistants(session) if person.caller.sees(one)]
    gone = []
    for assistant in known:
        identity = person.as_giver(assistant.id)
        try:
            subject = Subject(ErasureKind.CONTRIBUTOR, identity, contributors=[identity])
            gone.append(erase(database, assistant, subject, actor="giver")[0])
        except NotFound:  # never talked to this one
            continue
    return gone


def _is_own(session: Session, person: Person) -> ColumnElement[bool]:
    mine = col(Conversation.api_key_id) == person.caller.api_key_id
    if person.user is None:
        identities: ColumnElement[bool] = col(Conversation.contributor_id).is_(None)
    else:
        everywhere = [person.as_giver(one.id) for one in assistants.list_assistants(session)]
        identities = col(Conversation.contributor_id).in_(everywhere)
    if person.caller.assistant_ids is not None:
        mine = and_(mine, col(Conversation.assistant_id).in_(person.caller.assistant_ids))
    return and_(mine, identities)


def _summaries(session: Session, person: Person, found: Sequence[Conversation]) -> list[OwnConversation]:
    names = {one.external_id for one in found if one.external_id is not None}
    called = select(func.max(Conversation.id)).where(_is_own(session, person), col(Conversation.external_id).in_(names))
    newest = session.exec(called.group_by(col(Conversation.external_id))).all() if names else []
    return [
        OwnConversation(
            id=one.external_id if one.external_id is not None and one.id in newest else f"{OWN_LABEL}{one.id}",
            assistant=session.get_one(Assistant, one.assistant_id).name,
            title=one.title or _first_words(session, one),
            created_at=one.created_at,
        )
        for one in found
    ]


def _first_words(session: Session, conversation: Conversation) -> str:
    first = session.exec(
        select(func.substr(Message.content, 1, 4 * _TITLE_FROM_WORDS))
        .where(Message.conversation_id == conversation.id, Message.role == "user")
        .order_by(col(Message.id))
        .limit(1)
    ).first()
    return shortened(first or "")


def shortened(words: str) -> str:
    """
    >>> shortened("How tall is it?\\nReally."), len(shortened("a b " * 60))
    ('How tall is it? Really.', 60)
    """
    line = " ".join(words.split())
    return line if len(line) <= _TITLE_FROM_WORDS else line[: _TITLE_FROM_WORDS - 1] + "…"


def _feedback(
    session: Session, person: Person, conversation: Conversation, message_ids: Sequence[int]
) -> list[Feedback]:
    return list(
        session.exec(
            select(Feedback)
            .where(
                col(Feedback.message_id).in_(message_ids),
                Feedback.contributor_id == person.as_giver(conversation.assistant_id),
                Feedback.status != FeedbackStatus.REPLACED,
            )
            .order_by(col(Feedback.id))
        )
    )


def _own_feedback(row: Feedback) -> OwnFeedback:
    return OwnFeedback(
        id=row.public_id,
        kind=row.kind,
        value={name: value for name, value in row.value.items() if not name.endswith("_message_id")},
        comment=row.comment,
        tags=row.tags,
        status=row.status,
        created_at=row.created_at,
    )


def _unchosen(messages: Sequence[Message], said: Sequence[Feedback]) -> set[int]:
    """Replies of blind comparisons that the person hasn't chosen between: who wrote which isn't told before."""
    decided = {one.message_id for one in said if one.kind == FeedbackKind.PREFERENCE}
    chosen = {message.completion_id for message in messages if message.id in decided}
    return {
        message.id
        for message in messages
        if message.completion_id is not None
        and is_comparison(message.completion_id)
        and message.completion_id not in chosen
    }
