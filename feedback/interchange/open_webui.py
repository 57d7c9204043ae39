"""Open WebUI's feedback export: thumbs on replies, each with a snapshot of its chat.

A thumb is a rating. In an arena, where two replies stood side by side, it is a choice between them. The person is known
by Open WebUI's user id; reasons become tags. Leaves out the chat's own system prompt, and what a reasoning model
thought, as Open WebUI does when it sends a conversation to a model again.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from feedback.curate.items import Turns
from feedback.interchange.reading import each_row
from feedback.interchange.records import Read, Unreadable, is_plausible, preference, rating, words

_THOUGHT = ('<details type="', "</details>")
_MOST_TAGS = 20


def recognises(row: Any) -> bool:
    return isinstance(row, dict) and row.keys() >= {"type", "data", "meta"}


def read(path: Path) -> Iterator[Read]:
    return each_row(path, record)


def record(line: int, row: Any) -> Iterator[Read]:
    """
    >>> asked = {"id": "q", "parentId": None, "childrenIds": ["a"], "role": "user", "content": "How tall?"}
    >>> said = {"id": "a", "parentId": "q", "childrenIds": [], "role": "assistant", "content": "Tall."}
    >>> chat = {"chat": {"chat": {"history": {"messages": {"q": asked, "a": said}}}}}
    >>> row = {"type": "rating", "user_id": "u-7", "data": {"rating": -1, "reason": "vague", "comment": "How much?"},
    ...        "meta": {"message_id": "a", "arena": False}, "snapshot": chat, "created_at": 1735732800}
    >>> [made] = record(1, row)
    >>> made.messages, made.reply, made.value, made.contributor, made.comment, made.tags
    ((('user', 'How tall?'),), 'Tall.', -1, 'open-webui:u-7', 'How much?', ('vague',))
    """
    data, meta = _object(row, "data"), _object(row, "meta")
    thumb = {"1": 1, "-1": -1}.get(str(data.get("rating")))
    if thumb is None:
        raise Unreadable("`data.rating` is neither 1 nor -1")
    chat = _object(_object(_object(row, "snapshot"), "chat"), "chat")
    known = _object(_object(chat, "history"), "messages")
    reply = known.get(words(meta.get("message_id"), "`meta.message_id`"))
    if not isinstance(reply, dict) or reply.get("role") != "assistant":
        raise Unreadable("the rated reply isn't in the snapshot")
    more: dict[str, Any] = {
        "contributor": f"open-webui:{row['user_id']}" if row.get("user_id") else None,
        "comment": data.get("comment") if isinstance(data.get("comment"), str) and data["comment"].strip() else None,
        "tags": _tags(data),
        "created_at": _moment(row.get("created_at")),
    }
    question, text = _before(known, reply), _said(reply)
    others = _siblings(known, reply) if meta.get("arena") is True else []
    if len(others) == 1:
        chosen, rejected = (text, others[0]) if thumb == 1 else (others[0], text)
        yield preference(line, question, chosen, rejected, **more)
    else:
        yield rating(line, question, text, thumb, **more)


def _before(known: dict[str, Any], reply: dict[str, Any]) -> Turns:
    """The messages from the chat's first one to the reply, which is left out."""
    chain: list[tuple[str, str]] = []
    seen: set[str] = set()
    parent_id = reply.get("parentId")
    while isinstance(parent_id, str) and isinstance(parent := known.get(parent_id), dict):
        if parent_id in seen:
            raise Unreadable("the snapshot's messages are each other's parents")
        seen.add(parent_id)
        if parent.get("role") in ("user", "assistant"):
            chain.append((parent["role"], _said(parent)))
        parent_id = parent.get("parentId")
    return tuple(chain[::-1])


def _siblings(known: dict[str, Any], reply: dict[str, Any]) -> list[str]:
    return [
        _said(other)
        for other in known.values()
        if isinstance(other, dict)
        and other is not reply
        and other.get("role") == "assistant"
        and other.get("parentId") == reply.get("parentId")
    ]


def _said(message: dict[str, Any]) -> str:
    """
    >>> _said({"content": '<details type="reasoning" done="true">Hm.</details>\\nTall. <details>More.</details>'})
    'Tall. <details>More.</details>'
    """
    text = words(message.get("content"), "a message's content")
    begin, end = _THOUGHT
    kept, at = "", 0
    while (start := text.find(begin, at)) >= 0 and (stop := text.find(end, start)) >= 0:
        kept += text[at:start]
        at = stop + len(end)
    return (kept + text[at:]).strip()


def _tags(data: dict[str, Any]) -> tuple[str, ...]:
    given = data.get("tags") if isinstance(data.get("tags"), list) else []
    tags = [tag.strip() for tag in [data.get("reason"), *(given or [])] if isinstance(tag, str) and tag.strip()]
    return tuple(dict.fromkeys(tags))[:_MOST_TAGS]


def _moment(value: Any) -> datetime | None:
    """From seconds since 1970; a time that makes no sense is none."""
    try:
        told = datetime.fromtimestamp(value, UTC) if type(value) in (int, float) else None
    except (ValueError, OverflowError, OSError):
        return None
    return told if told and is_plausible(told) else None


def _object(value: Any, name: str) -> dict[str, Any]:
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, dict):
        raise Unreadable(f"it has no `{name}`")
    return found
