"""What every format is read into: a record for each piece of feedback, or why there is none.

A format's `read` yields these in the file's order and loses no row: each is a Record, a Tie or a BadLine. Leaves out
whether a database takes a record (store.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from feedback.columns import now, utc
from feedback.curate.items import Turns
from feedback.states import FeedbackKind

_FIRST_MOMENT = datetime(1970, 1, 1, tzinfo=UTC)
_CLOCKS_DIFFER = timedelta(days=1)
"""By so much at most is what was said ahead of our own clock."""
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


@dataclass(frozen=True)
class Record:
    """A reply to a conversation, and what was said about it."""

    line: int
    messages: Turns
    """What led to the reply: ((role, content), …), oldest first."""
    reply: str
    """Empty where only the right answer is known: a correction of nothing, which makes no pair."""
    kind: FeedbackKind
    value: Any
    """As `POST /v1/feedback` takes it, but a preference names the other reply by its text: {"rejected": text}, or
    {"tie": …, "other": text}."""
    contributor: str | None = None
    """Who said it, in the other system's words or as `hmac:…`, a keyed hash out of our own export; None: anonymous."""
    comment: str | None = None
    tags: tuple[str, ...] = ()
    created_at: datetime | None = None
    id: str | None = None
    """Its `fb-…` id in the deployment that exported it."""
    store: bool | None = None
    """The grant of whoever chatted, where the file tells; None: it doesn't."""
    training: bool | None = None
    """The grant of whoever gave the feedback."""
    cut_off: bool = False
    """A reply that it shows ended early: good enough to correct, not to prefer or rate."""


@dataclass(frozen=True)
class Tie:
    """Two replies were found equally good, which teaches nothing: read, counted, not stored."""

    line: int
    reason: str


@dataclass(frozen=True)
class BadLine:
    line: int
    reason: str


Read = Record | Tie | BadLine


class Unreadable(Exception):
    """Why a row can't be taken, in words for the report."""


def correction(line: int, messages: Turns, answer: str, key_facts: Sequence[str] = (), **more: Any) -> Record:
    """The right answer where no reply is known: it trains SFT alone.

    >>> correction(1, (("user", "How tall?"),), "330 metres.").value
    {'content': '330 metres.', 'key_facts': []}
    """
    value = {"content": answer, "key_facts": list(key_facts)}
    return sound(Record(line, messages, "", FeedbackKind.CORRECTION, value, **more))


def preference(line: int, messages: Turns, chosen: str, rejected: str, **more: Any) -> Record:
    return sound(Record(line, messages, chosen, FeedbackKind.PREFERENCE, {"rejected": rejected}, **more))


def rating(line: int, messages: Turns, reply: str, thumb: int, **more: Any) -> Record:
    return sound(Record(line, messages, reply, FeedbackKind.RATING, thumb, **more))


def sound(record: Record) -> Record:
    """The record, if it can teach anything at all; what the curation would drop is better told beside its line."""
    if not any(role == "user" and content.strip() for role, content in record.messages):
        raise Unreadable("there is no question")
    if record.kind == FeedbackKind.CORRECTION:
        if not record.value["content"].strip():
            raise Unreadable("the answer is empty")
    elif not record.reply.strip():
        raise Unreadable("the reply is empty")
    if record.kind == FeedbackKind.PREFERENCE:
        if not record.value["rejected"].strip():
            raise Unreadable("the other reply is empty")
        if record.value["rejected"].strip() == record.reply.strip():
            raise Unreadable("both replies say the same")
    return record


def other_reply(record: Record) -> str:
    """The text that a preference holds the reply against."""
    other: str = record.value["other" if "tie" in record.value else "rejected"]
    return other


def words(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise Unreadable(f"{what} isn't text")
    return value


def turns(value: Any, what: str = "`messages`") -> Turns:
    """A conversation as OpenAI and TRL write it.

    >>> parts = [{"type": "text", "text": "How "}, {"type": "text", "text": "tall?"}]
    >>> turns([{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}])
    (('system', 'Be brief.'), ('user', 'How tall?'))
    """
    if not isinstance(value, list):
        raise Unreadable(f"{what} isn't a list of messages")
    return tuple(_turn(message, what) for message in value)


def question_and_reply(conversation: Turns, what: str = "`messages`") -> tuple[Turns, str]:
    """What comes before the last message, and that message, which must be the assistant's."""
    if not conversation or conversation[-1][0] != "assistant":
        raise Unreadable(f"{what} doesn't end with the assistant's reply")
    return conversation[:-1], conversation[-1][1]


def moment(value: Any) -> datetime:
    """When something was said, in ISO 8601; without a zone it is UTC.

    >>> moment("2025-01-01T12:00:00+02:00").isoformat()
    '2025-01-01T10:00:00+00:00'
    """
    try:
        told = utc(words(value, "`created_at`"))
    except ValueError:
        raise Unreadable("`created_at` isn't a time: write it as 2025-01-31T12:00:00+00:00") from None
    if not is_plausible(told):
        raise Unreadable("`created_at` is before 1970 or in the future: write when it was said, or leave it out")
    return told


def is_plausible(told: datetime) -> bool:
    """Whether something may have been said then."""
    return _FIRST_MOMENT <= told <= now() + _CLOCKS_DIFFER


def _turn(message: Any, what: str) -> tuple[str, str]:
    if not isinstance(message, dict):
        raise Unreadable(f"{what} has something that isn't a message: {{'role', 'content'}}")
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise Unreadable(f"{what} has a message by {role!r:.40}: only {', '.join(ROLES)} are known")
    if message.get("tool_calls") or message.get("function_call"):
        raise Unreadable(f"{what} has a tool call, which can't be learned")
    return ROLES[role], _text(message.get("content"), what)


def _text(content: Any, what: str) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [
            part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in content
        ]
        if all(isinstance(part, str) for part in parts):
            return "".join(part for part in parts if part)
    raise Unreadable(f"{what} has a message whose content isn't text")
