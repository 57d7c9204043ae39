"""The datasheets' topics are named by words that people used: those that nobody has said any more go from the names.

Leaves out the folders' copies of the datasheets (finish.py).
"""

import re
from collections.abc import Iterable
from typing import Any

from sqlalchemy import func, select
from sqlmodel import Session, col

from feedback.database import in_portions
from feedback.erasure.marks import Marked
from feedback.models import Assistant, Conversation, DatasetVersion, Message

_WORD = re.compile(r"\w\w+")


def named_words(session: Session, assistant: Assistant, marked: Marked) -> set[str]:
    """The words in topics' names that are in what is to be erased; asked before it is."""
    names = {word for sheet in _sheets(session, assistant).values() for word in _words_of(sheet)}
    if not names:
        return set()
    said: set[str] = set()
    for some in in_portions(marked.ids.get(Message.__tablename__, [])):
        for content in (
            session.connection().execute(select(col(Message.content)).where(col(Message.id).in_(some))).scalars()
        ):
            said.update(names.intersection(_WORD.findall(content.lower())))
    return said


def forget(session: Session, assistant: Assistant, words: Iterable[str]) -> None:
    """Take those of `words` that are in no message of the assistant's (any more) out of its topics' names."""
    gone = {word for word in words if not _is_said(session, assistant, word)}
    if not gone:
        return
    for dataset_id, sheet in _sheets(session, assistant).items():
        if gone.intersection(_words_of(sheet)):
            dataset = session.get_one(DatasetVersion, dataset_id)
            dataset.datasheet = without(sheet, gone)
            session.add(dataset)


def without(sheet: dict[str, Any], words: set[str] | None = None) -> dict[str, Any]:
    """The datasheet whose topics' names have none of `words`; None: no names at all.

    >>> sheet = {"balance": {"topic": [{"group": "big, tank", "before": 7}, {"group": "tank", "before": 5}]}}
    >>> without(sheet, {"tank"})["balance"]["topic"]
    [{'group': 'big', 'before': 7}, {'group': 'other', 'before': 5}]
    """
    from feedback.curate.topics import OTHER  # brings numpy, which only few need

    topics = [
        group | {"group": ", ".join(word for word in _named(group) if words is not None and word not in words) or OTHER}
        for group in _topics(sheet)
    ]
    return sheet | {"balance": sheet.get("balance", {}) | {"topic": topics}}


def _sheets(session: Session, assistant: Assistant) -> dict[int, dict[str, Any]]:
    chosen = select(col(DatasetVersion.id), col(DatasetVersion.datasheet)).where(
        col(DatasetVersion.assistant_id) == assistant.id
    )
    return dict(session.connection().execute(chosen).tuples().all())


def _topics(sheet: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sheet.get("balance", {}).get("topic", [])
    return found


def _named(group: dict[str, Any]) -> list[str]:
    return str(group["group"]).split(", ")


def _words_of(sheet: dict[str, Any]) -> set[str]:
    return {word for group in _topics(sheet) for word in _named(group)}


def _is_said(session: Session, assistant: Assistant, word: str) -> bool:
    said = (
        select(col(Message.id))
        .join(Conversation, col(Conversation.id) == col(Message.conversation_id))
        .where(col(Conversation.assistant_id) == assistant.id)
        .where(func.lower(col(Message.content)).contains(word, autoescape=True))
    )
    return session.connection().execute(said.limit(1)).first() is not None
