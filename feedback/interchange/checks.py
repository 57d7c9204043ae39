"""Whether a record may be stored, by intake's rules for its kind, and what it will be known by."""

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from feedback.collect import comments, corrections, ratings
from feedback.collect.intake import MAX_USER, check_texts
from feedback.collect.kinds import MAX_TAG, MAX_TAGS, Parsed
from feedback.collect.preferences import TIES
from feedback.columns import is_storable, texts_in
from feedback.contributors import contributor_id
from feedback.errors import InvalidInput
from feedback.interchange.records import Record, Unreadable
from feedback.interchange.stored import HASHED
from feedback.models import Message
from feedback.states import FeedbackKind

_OUR_ID = re.compile(r"fb-[0-9a-f]{24}")
_OUR_HASH = re.compile(re.escape(HASHED) + r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Giver:
    """Who imports turn names into contributors for: the assistant, and the key that imports go by."""

    secret: bytes
    assistant_id: int
    api_key_id: int

    def identity(self, name: str) -> str:
        return contributor_id(self.secret, self.assistant_id, self.api_key_id, name)


@dataclass(frozen=True)
class Checked:
    record: Record
    parsed: Parsed
    contributor: str | None
    content_sha256: str
    """Of all that the record says; names go in as keyed hashes, so that nobody can guess them from it."""

    @property
    def identity(self) -> str:
        return self.record.id or self.content_sha256


def check(record: Record, giver: Giver) -> Checked:
    """Raises Unreadable."""
    name = record.contributor
    if not record.messages:
        raise Unreadable("`messages` is empty")
    texts = [record.messages, record.reply, record.value, record.comment, record.tags, name, record.id]
    if not all(is_storable(text) for text in texts_in(texts)):
        raise Unreadable("it has NUL characters, lone surrogates or bytes that aren't UTF-8")
    if len(record.tags) > MAX_TAGS or not all(1 <= len(tag) <= MAX_TAG for tag in record.tags):
        raise Unreadable(f"it may have {MAX_TAGS} tags of 1 to {MAX_TAG} characters")
    if name is not None and not 1 <= len(name) <= MAX_USER:
        raise Unreadable(f"a contributor's name has 1 to {MAX_USER} characters")
    if record.id is not None and not _OUR_ID.fullmatch(record.id):
        raise Unreadable("`id` isn't one that Burnish gave: leave it out")
    try:
        parsed = _parse(record)
    except InvalidInput as error:
        raise Unreadable(error.message) from None
    except RecursionError:
        raise Unreadable("`value` is nested too deeply") from None
    contributor = None
    if name is not None:
        contributor = name.removeprefix(HASHED) if _OUR_HASH.fullmatch(name) else giver.identity(name)
    return Checked(record, parsed, contributor, content_sha256(record, parsed, contributor))


def _parse(record: Record) -> Parsed:
    value = record.value
    # a reply may be as long as a model writes: only what people wrote is limited
    check_texts(None if record.kind == FeedbackKind.PREFERENCE else _shortest(value), record.comment, ())
    match record.kind:
        case FeedbackKind.CORRECTION:
            return corrections.parse(_nobody(), value)
        case FeedbackKind.RATING:
            return ratings.parse(_nobody(), value)
        case FeedbackKind.COMMENT:
            return comments.parse(value, record.comment)
        case FeedbackKind.PREFERENCE:
            return Parsed(value, score=TIES.get(value.get("tie", "")))
        case FeedbackKind.REPORT | FeedbackKind.SURVEY:
            raise Unreadable("reports and surveys aren't imported: they are for people")


@cache
def _nobody() -> Message:
    """The kinds ask a reply only for its id, to know which words replace which: none do here."""
    return Message(id=0, role="assistant", content="", history_sha256="")


def _shortest(value: Any) -> Any:
    """A correction that was given as plain text mustn't grow over the limit by what it is stored as."""
    plain = isinstance(value, dict) and set(value) == {"content", "key_facts"} and not value["key_facts"]
    return value["content"] if plain else value


def content_sha256(record: Record, parsed: Parsed, contributor: str | None) -> str:
    said = [
        record.messages,
        record.reply,
        record.kind,
        parsed.value,
        contributor,
        record.comment,
        record.tags,
        record.created_at.isoformat() if record.created_at else None,
        record.store,
        record.training,
        record.cut_off,
    ]
    return hashlib.sha256(json.dumps(said, ensure_ascii=False, sort_keys=True).encode()).hexdigest()
