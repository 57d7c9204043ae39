"""Checked records into their tables, with one statement a table: conversations, messages, feedback."""

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert
from sqlmodel import Session, col, select

from feedback.collect.intake import hash_receipt, make_receipt
from feedback.columns import now
from feedback.contributors import side_of
from feedback.conversations import extend_history
from feedback.database import in_portions, reserve_ids
from feedback.interchange.checks import Checked, Giver
from feedback.interchange.records import Record, other_reply
from feedback.interchange.stored import HASHED
from feedback.models import Contributor, Conversation, Feedback, Message
from feedback.policies import TrainingPolicy
from feedback.states import FeedbackKind, FeedbackStatus, MessageStatus


@dataclass(frozen=True)
class Fresh:
    """A record that isn't here yet, under the names that it gets."""

    checked: Checked
    public_id: str
    idempotency_key: str
    store: bool | None
    training: bool | None


def insert_all(session: Session, giver: Giver, policy: TrainingPolicy, fresh: Sequence[Fresh], source: str) -> None:
    if not fresh:
        return
    moment = now()
    people = _remember_contributors(session, giver, policy, fresh, moment)
    conversation_ids = reserve_ids(session, Conversation, len(fresh))
    message_ids = iter(reserve_ids(session, Message, sum(_message_count(one) for one in fresh)))
    conversations, messages, said = [], [], []
    for one, conversation_id in zip(fresh, conversation_ids, strict=True):
        record = one.checked.record
        contributor, created_at = people.get(one.checked.contributor or ""), record.created_at or moment
        conversations.append(
            {
                "id": conversation_id,
                "assistant_id": giver.assistant_id,
                "api_key_id": giver.api_key_id,
                "contributor_id": contributor,
                "created_at": created_at,
            }
        )
        made = _messages(one, conversation_id, message_ids, created_at)
        messages += made
        choice = record.kind == FeedbackKind.PREFERENCE
        said.append(
            {
                "public_id": one.public_id,
                "assistant_id": giver.assistant_id,
                "message_id": made[-2 if choice else -1]["id"],
                "api_key_id": giver.api_key_id,
                "contributor_id": contributor,
                "kind": record.kind,
                "score": one.checked.parsed.score,
                "value": _preference(record, made[-1]["id"]) if choice else one.checked.parsed.value,
                "comment": record.comment,
                "tags": list(record.tags),
                "training": one.training,
                "status": FeedbackStatus.RECEIVED,
                "receipt_sha256": hash_receipt(make_receipt(giver.secret, one.public_id)),
                "idempotency_key": one.idempotency_key,
                "request_sha256": one.checked.content_sha256,
                "source": source,
                "imported_at": moment,
                "created_at": created_at,
            }
        )
    connection = session.connection()
    connection.execute(insert(Conversation), conversations)
    connection.execute(insert(Message), messages)
    connection.execute(insert(Feedback), said)


def make_public_id(giver: Giver, idempotency_key: str) -> str:
    """The same for the same record, whenever it is imported."""
    return f"fb-{hmac.new(giver.secret, f'import:{idempotency_key}'.encode(), hashlib.sha256).hexdigest()[:24]}"


def _message_count(one: Fresh) -> int:
    return len(one.checked.record.messages) + (2 if one.checked.record.kind == FeedbackKind.PREFERENCE else 1)


def _messages(one: Fresh, conversation_id: int, ids: Iterator[int], created_at: datetime) -> list[dict[str, Any]]:
    """The history, the reply and, for a preference, the other reply to the same message."""
    record = one.checked.record
    made: list[dict[str, Any]] = []

    def add(parent: dict[str, Any] | None, role: str, content: str, **more: Any) -> None:
        row: dict[str, Any] = {
            "id": next(ids),
            "conversation_id": conversation_id,
            "parent_id": parent["id"] if parent else None,
            "role": role,
            "content": content,
            "history_sha256": extend_history(parent["history_sha256"] if parent else "", role, content),
            "status": MessageStatus.COMPLETE,
            "store": one.store,
            "created_at": created_at,
            "choice_index": 0,
            "prompt_tokens": 0,
            "completion_tokens": 0,
            "sampling": {},
            "completed_at": None,
        }
        made.append(row | more)

    for role, content in record.messages:
        add(made[-1] if made else None, role, content)
    asked = made[-1]
    ended = MessageStatus.STOPPED if record.cut_off else MessageStatus.COMPLETE
    add(asked, "assistant", record.reply, status=ended, completed_at=created_at)
    if record.kind == FeedbackKind.PREFERENCE:
        add(asked, "assistant", other_reply(record), status=ended, completed_at=created_at, choice_index=1)
    return made


def _preference(record: Record, other_id: int) -> dict[str, Any]:
    """As `feedback.collect.preferences` stores it."""
    if "tie" in record.value:
        return {"tie": record.value["tie"], "other_message_id": other_id}
    return {"rejected_message_id": other_id}


def _remember_contributors(
    session: Session, giver: Giver, policy: TrainingPolicy, fresh: Sequence[Fresh], moment: datetime
) -> dict[str, str]:
    """The contributors of the identities in the records; one that is another assistant's gets a new one here."""
    wanted = {one.checked.contributor for one in fresh if one.checked.contributor}
    owners = _owners(session, wanted)
    people = {
        identity: identity
        if owners.get(identity, giver.assistant_id) == giver.assistant_id
        else giver.identity(HASHED + identity)
        for identity in wanted
    }
    known = owners.keys() | _owners(session, set(people.values()) - wanted).keys()
    rows = [
        {"id": one, "assistant_id": giver.assistant_id, "side": side_of(one, policy), "created_at": moment}
        for one in people.values()
        if one not in known
    ]
    if rows:
        session.connection().execute(insert(Contributor), rows)
    return people


def _owners(session: Session, identities: set[str]) -> dict[str, int]:
    """The assistants that known contributors belong to."""
    columns = select(Contributor.id, Contributor.assistant_id)
    return {
        identity: assistant_id
        for some in in_portions(identities)
        for identity, assistant_id in session.exec(columns.where(col(Contributor.id).in_(some)))
    }
