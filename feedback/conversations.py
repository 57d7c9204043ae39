"""Conversations and their messages: found again by id or equal history, and every reply stored with its version.

Each is one person's: where several share a client's id, each has their own, and what they quote of others is theirs.

A reply is committed before its first chunk (`begin_reply`) and completed before the client's last (`finish_reply`).
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import func, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from feedback.columns import is_storable, now
from feedback.database import in_portions
from feedback.errors import InvalidInput, NotFound
from feedback.guidelines import system_prompt_of
from feedback.models import AdapterVersion, Assistant, Conversation, Guidelines, Message
from feedback.states import MessageStatus

ChatMessage = dict[str, str]
NOT_KEPT = "(asked by a chat client for itself: not kept)"
"""Stands for both sides of a UI task, whose prompt quotes a chat: erasing the chat couldn't find the copy."""


@dataclass(frozen=True)
class Turn:
    """What a client sent: the whole history, and what it says about itself."""

    messages: Sequence[ChatMessage]
    api_key_id: int
    contributor_id: str | None = None
    external_id: str | None = None
    store: bool | None = None
    ui_task: bool = False
    """A chat client asks for itself, not for a person: it gets a conversation of its own, which no other turn joins,
    and none of its words are stored."""


def with_guidelines(guidelines: Guidelines, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """What the model reads, in serving and training alike: the guidelines first, then the client's own words.

    A client's system message is joined to the guidelines', since most chat templates know only one.
    """
    own = [message["content"] for message in messages if message["role"] == "system"]
    system = "\n\n".join(part for part in (system_prompt_of(guidelines), *own) if part)
    rest = [dict(message) for message in messages if message["role"] != "system"]
    return [{"role": "system", "content": system}, *rest] if system else rest


def begin_replies(
    session: Session,
    assistant: Assistant,
    guidelines: Guidelines,
    versions: Sequence[AdapterVersion],
    turn: Turn,
    *,
    completion_id: str,
    sampling: dict[str, Any],
    release_ids: Sequence[int | None] | None = None,
) -> list[int]:
    """Store the turn and an empty reply for each of `versions`, which will write it; returns the replies' row ids.

    `release_ids`: of each, the release that a share of the conversations gave it to, if one did.
    What was kept from training once stays so: a reply's `store` is a no where one of what led to it is.
    """
    history = _store_history(session, assistant, turn)
    parent = history[-1]
    store = False if any(message.store is False for message in history) else turn.store
    replies = [
        Message(
            conversation_id=parent.conversation_id,
            parent_id=parent.id,
            role="assistant",
            content="",
            history_sha256="",  # known once it is written: until then it is in nobody's history
            status=MessageStatus.WRITING,
            store=store,
            completion_id=completion_id,
            choice_index=index,
            adapter_version_id=version.id,
            release_id=release_id,
            guidelines_id=guidelines.id,
            sampling=sampling,
        )
        for index, (version, release_id) in enumerate(zip(versions, release_ids or [None] * len(versions), strict=True))
    ]
    session.add_all(replies)
    session.flush()
    return [reply.id for reply in replies]


def finish_reply(
    session: Session,
    message_id: int,
    content: str,
    status: MessageStatus,
    *,
    finish_reason: str | None,
    prompt_tokens: int,
    completion_tokens: int,
) -> None:
    """Nothing is stored of a reply whose conversation was erased while it was written."""
    reply = session.get(Message, message_id, with_for_update=True)
    if reply is None:
        return
    if session.get_one(Conversation, reply.conversation_id).ui_task:
        content = NOT_KEPT
    reply.content = content
    reply.status = status
    reply.finish_reason = finish_reason
    reply.prompt_tokens = prompt_tokens
    reply.completion_tokens = completion_tokens
    reply.completed_at = now()
    parent = session.get_one(Message, reply.parent_id)
    reply.history_sha256 = extend_history(parent.history_sha256, "assistant", content)


def fail_abandoned(session: Session, older_than_seconds: float) -> int:
    """Replies that a dead service left behind become FAILED; returns how many."""
    stale = now() - timedelta(seconds=older_than_seconds)
    result = session.connection().execute(
        update(Message)
        .where(col(Message.status) == MessageStatus.WRITING, col(Message.created_at) < stale)
        .values(status=MessageStatus.FAILED)
    )
    return result.rowcount


def count_answered(session: Session, conversation_id: int) -> int:
    """How many of a conversation's messages have a complete reply, or several."""
    answered = select(func.count(col(Message.parent_id).distinct())).where(
        Message.conversation_id == conversation_id,
        Message.role == "assistant",
        Message.status == MessageStatus.COMPLETE,
        col(Message.completion_id).is_not(None),
    )
    return session.exec(answered).one()


def has_siblings(session: Session, reply: Message) -> bool:
    """Whether the message was answered otherwise too: regenerated, n > 1, a comparison."""
    other = select(Message.id).where(
        Message.parent_id == reply.parent_id,
        Message.id != reply.id,
        Message.status == MessageStatus.COMPLETE,
        col(Message.completion_id).is_not(None),
    )
    return session.exec(other.limit(1)).first() is not None


def get_reply(
    session: Session, assistant_ids: frozenset[int] | None, completion_id: str, choice: int
) -> tuple[Message, Conversation]:
    """Both as of one moment: after it, either may be erased. Raises NotFound."""
    found = session.exec(
        select(Message, Conversation)
        .join(Conversation, col(Message.conversation_id) == col(Conversation.id))
        .where(Message.completion_id == completion_id, Message.choice_index == min(choice, 2**31 - 1))
    ).first()
    if found is None or (assistant_ids is not None and found[1].assistant_id not in assistant_ids):
        raise NotFound(
            f"No completion '{completion_id}' with choice {choice}.",
            param="completion_id",
            code="completion_not_found",
        )
    return found


def history(session: Session, message: Message) -> list[ChatMessage]:
    """The messages that led to `message`, oldest first, itself left out."""
    chain: list[ChatMessage] = []
    parent_id = message.parent_id
    while parent_id is not None:
        parent = session.get_one(Message, parent_id)
        chain.append({"role": parent.role, "content": parent.content})
        parent_id = parent.parent_id
    return chain[::-1]


def histories(session: Session, messages: Iterable[Message]) -> dict[int, list[ChatMessage]]:
    """`history` of each message by its id: a query for every turn of the longest, not for every message."""
    parents = {message.id: message.parent_id for message in messages}
    known: dict[int, tuple[int | None, ChatMessage]] = {}
    wanted = {parent_id for parent_id in parents.values() if parent_id is not None}
    columns = select(Message.id, Message.parent_id, Message.role, Message.content)
    while wanted:
        found = [row for some in in_portions(wanted) for row in session.exec(columns.where(col(Message.id).in_(some)))]
        known |= {row[0]: (row[1], {"role": row[2], "content": row[3]}) for row in found}
        wanted = {row[1] for row in found if row[1] is not None} - known.keys()
    chains = {}
    for message_id, parent_id in parents.items():
        chain = []
        while parent_id is not None:
            parent_id, turn = known[parent_id]
            chain.append(turn)
        chains[message_id] = chain[::-1]
    return chains


def extend_history(history_sha256: str, role: str, content: str) -> str:
    """The hash of a history and one more message."""
    return hashlib.sha256(f"{history_sha256}\0{role}\0{content}".encode()).hexdigest()


def _store_history(session: Session, assistant: Assistant, turn: Turn) -> list[Message]:
    """Find the conversation, add what it lacks; returns what was said, up to the message that the reply answers.

    The conversation stays locked until the transaction ends, so that two requests at once don't both add it.
    """
    if not turn.messages:
        raise InvalidInput("`messages` is empty: send at least one message.", param="messages")
    if not all(is_storable(message["content"]) for message in turn.messages):
        raise InvalidInput("`content` can't have NUL characters or lone surrogates.", param="messages")
    if turn.ui_task:
        turn = replace(turn, messages=[{"role": "user", "content": NOT_KEPT}], external_id=None)
    hashes: list[str] = []
    for message in turn.messages:
        hashes.append(extend_history(hashes[-1] if hashes else "", message["role"], message["content"]))
    conversation = _find_conversation(session, assistant, turn, hashes)
    if conversation is None:
        conversation = _begin_conversation(session, assistant, turn)
    stored = session.exec(
        select(Message)
        .where(Message.conversation_id == conversation.id, col(Message.history_sha256).in_(hashes))
        .order_by(col(Message.id))
    ).all()
    known = {message.history_sha256: message for message in stored}
    said: list[Message] = []
    for message, digest in zip(turn.messages, hashes, strict=True):
        here = known.get(digest)
        if here is None:
            here = Message(
                conversation_id=conversation.id,
                parent_id=said[-1].id if said else None,
                role=message["role"],
                content=message["content"],
                history_sha256=digest,
                store=turn.store,
            )
            session.add(here)
            session.flush()
        said.append(here)
    return said


def _begin_conversation(session: Session, assistant: Assistant, turn: Turn) -> Conversation:
    conversation = Conversation(
        assistant_id=assistant.id,
        api_key_id=turn.api_key_id,
        external_id=turn.external_id,
        contributor_id=turn.contributor_id,
        ui_task=turn.ui_task,
    )
    try:
        with session.begin_nested():
            session.add(conversation)
    except IntegrityError:  # another request began the same conversation id at this moment
        return session.exec(_called(assistant, turn)).one()
    return conversation


def _find_conversation(session: Session, assistant: Assistant, turn: Turn, hashes: list[str]) -> Conversation | None:
    if turn.ui_task:
        return None
    if turn.external_id is not None:
        return session.exec(_called(assistant, turn)).first()
    # equal histories: the whole one (a reply is wanted anew), else the part up to the last reply
    replied = [digest for message, digest in zip(turn.messages, hashes, strict=True) if message["role"] == "assistant"]
    for digest in hashes[-1:] + replied[-1:]:
        found = session.exec(
            _mine(assistant, turn)
            .join(Message, col(Message.conversation_id) == col(Conversation.id))
            .where(Message.history_sha256 == digest)
            .order_by(col(Conversation.id).desc())
            .limit(1)
            .with_for_update(of=Conversation, key_share=True)
        ).first()
        if found is not None:
            return found
    return None


def _called(assistant: Assistant, turn: Turn) -> SelectOfScalar[Conversation]:
    """The conversation that its client calls so: each of several people who share the id has one of their own."""
    return _mine(assistant, turn).where(Conversation.external_id == turn.external_id).with_for_update(key_share=True)


def _mine(assistant: Assistant, turn: Turn) -> SelectOfScalar[Conversation]:
    """Those of the person who speaks; of nobody's, where nobody is named."""
    same_person = (
        col(Conversation.contributor_id).is_(None)
        if turn.contributor_id is None
        else col(Conversation.contributor_id) == turn.contributor_id
    )
    return select(Conversation).where(
        Conversation.assistant_id == assistant.id,
        Conversation.api_key_id == turn.api_key_id,
        same_person,
        col(Conversation.ui_task).is_(False),
    )
