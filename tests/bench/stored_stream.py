"""A made-up stream (see `stream`) put into a deployment's real tables, a million rows in a minute."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.figures import tell
from bench.poisoned_crowd import PoisonedCrowd
from bench.stream import Said, Stream
from sqlalchemy import insert

import migrations
from feedback import assistants, contributors, keys
from feedback.config import Settings
from feedback.database import Database, in_portions
from feedback.models import Contributor, Conversation, Feedback, Message
from feedback.policies import Changes
from feedback.states import FeedbackKind, FeedbackStatus, MessageStatus, Role
from feedback.testing import SECRET

START = datetime(2025, 1, 1, tzinfo=UTC)
ASSISTANT = "support"
Values = dict[str, Any]


def store(
    settings: Settings,
    stream: Stream | PoisonedCrowd,
    *,
    system_prompt: str = "Answer briefly.",
    changes: Changes | None = None,
) -> None:
    """Make the database, and in it the stream as if people had said it to an assistant with `changes` of policies."""
    database = settings.open_database()
    migrations.upgrade(database)
    with database.write() as session:
        assistant = assistants.create(session, ASSISTANT, "base", system_prompt=system_prompt, actor="bench")
        if changes:
            assistants.set_policies(session, assistant, changes, actor="bench")
        policy = assistants.policies(assistant).training
        key, _ = keys.create(session, "bench", Role.CHAT, actor="bench")
        guidelines = assistants.current_guidelines(session, assistant)
        about = {"assistant_id": assistant.id, "api_key_id": key.id}
    tell(f"{len(stream.exchanges)} exchanges")
    first = {}
    rows: list[dict[str, Any]] = []
    for number, exchange in enumerate(stream.exchanges):
        first[number] = len(rows) + 1
        rows += _messages(number, exchange, len(rows) + 1, guidelines.id)
    talks = [{"id": number + 1, **about, "created_at": START} for number in range(len(stream.exchanges))]
    _insert(database, Conversation, talks)
    _insert(database, Message, rows)
    people = [contributors.contributor_id(SECRET, assistant.id, key.id, f"person-{n}") for n in range(stream.people)]
    _insert(
        database,
        Contributor,
        (
            {"id": one, "assistant_id": assistant.id, "side": contributors.side_of(one, policy), "created_at": START}
            for one in people
        ),
    )
    tell("what was said about them")
    _insert(database, Feedback, _feedback(stream, first, people, about))
    database.checkpoint(last=True)
    database.close()


def _messages(number: int, exchange: Any, row: int, guidelines: int) -> Iterator[Values]:
    shared = {"conversation_id": number + 1, "created_at": START, "status": MessageStatus.COMPLETE, "sampling": {}}
    shared |= {"store": None, "choice_index": 0, "prompt_tokens": 1, "completion_tokens": 1}
    asked = {"id": row, "parent_id": None, "role": "user", "content": exchange.question, "completion_id": None}
    yield {**shared, **asked, "history_sha256": f"{row:064x}", "adapter_version_id": None, "finish_reason": None}
    for index, text in enumerate(one for one in (exchange.reply, exchange.other) if one is not None):
        reply = {"id": row + 1 + index, "parent_id": row, "role": "assistant", "content": text}
        named = {"completion_id": f"chatcmpl-{number:024x}", "choice_index": index, "finish_reason": "stop"}
        yield {**shared, **reply, **named, "history_sha256": f"{row + 1 + index:064x}", "adapter_version_id": 1}


def _feedback(
    stream: Stream | PoisonedCrowd, first: dict[int, int], people: list[str], about: dict[str, int]
) -> Iterator[Values]:
    for number, said in enumerate(stream.said(), 1):
        question = first[said.exchange]
        message, value = _value(said, question)
        yield {
            "id": number,
            "public_id": f"fb-{number:024x}",
            **about,
            "message_id": message,
            "contributor_id": None if said.contributor is None else people[said.contributor],
            "kind": FeedbackKind(said.kind),
            "score": (1.0 if said.good else -1.0) if said.kind == "rating" else None,
            "value": value,
            "comment": None,
            "tags": [],
            "training": None,
            "status": FeedbackStatus.RECEIVED,
            "receipt_sha256": f"{number:064x}",
            "request_sha256": f"{number:064x}",
            "created_at": START + timedelta(minutes=said.minute),
        }


def _value(said: Said, question: int) -> tuple[int, dict[str, Any]]:
    match said.kind:
        case "preference":
            better, worse = (question + 1, question + 2) if said.good else (question + 2, question + 1)
            return better, {"rejected_message_id": worse}
        case "correction":
            return question + 1, {"content": said.text, "key_facts": list(said.key_facts)}
        case "comment":
            return question + 1, {"text": said.text}
    return question + 1, {"thumb": 1 if said.good else -1}


def _insert(database: Database, table: Any, rows: Any) -> None:
    for some in in_portions(rows, 50_000):
        with database.write() as session:
            session.connection().execute(insert(table), some)
        database.checkpoint()
