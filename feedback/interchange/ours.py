"""Burnish's own JSONL: everything that was said about a reply, so that what went out comes in as it was.

    {"id": "fb-…", "kind": "correction", "messages": [{"role", "content"}, …], "reply": "It is red.",
     "value": {"content": "It is blue.", "key_facts": ["blue"]}, "contributor": "hmac:…", "comment": null, "tags": [],
     "created_at": "2025-01-31T12:00:00+00:00", "store": null, "training": null, "cut_off": false}

Only `kind`, `messages`, `reply` and `value` are needed. `value` is what `POST /v1/feedback` takes for the kind, but a
preference has the other reply's text: {"rejected": "…"}, or {"tie": "good" or "bad", "other": "…"}. `store` and
`training` are the grants of whoever chatted and of whoever gave the feedback. Leaves out reports, which are cases for
people, surveys, whose questions are the assistant's own, and the versions that wrote the replies.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from feedback.collect.preferences import TIES
from feedback.interchange.reading import each_row
from feedback.interchange.records import Read, Record, Unreadable, moment, turns, words
from feedback.states import FeedbackKind

KINDS = tuple(kind for kind in FeedbackKind if kind not in (FeedbackKind.REPORT, FeedbackKind.SURVEY))
_NEEDED = {"kind", "messages", "reply", "value"}
_KNOWN = _NEEDED | {"id", "contributor", "comment", "tags", "created_at", "store", "training", "cut_off"}


def recognises(row: Any) -> bool:
    return isinstance(row, dict) and row.keys() >= _NEEDED


def read(path: Path) -> Iterator[Read]:
    return each_row(path, record)


def record(line: int, row: Any) -> Iterator[Read]:
    """
    >>> said = {"kind": "rating", "messages": [{"role": "user", "content": "How tall?"}], "reply": "Tall.", "value": -1}
    >>> [made] = record(3, said | {"contributor": "ada", "tags": ["vague"]})
    >>> made.line, made.reply, made.value, made.contributor, made.tags
    (3, 'Tall.', -1, 'ada', ('vague',))
    >>> record_of = as_row(made)
    >>> list(record(3, record_of)) == [made]
    True
    """
    if not isinstance(row, dict):
        raise Unreadable("it isn't an object")
    if missing := sorted(_NEEDED - row.keys()):
        raise Unreadable(f"it has no `{missing[0]}`")
    if unknown := sorted(row.keys() - _KNOWN):
        raise Unreadable(f"`{unknown[0]:.40}` is unknown: there are {', '.join(sorted(_KNOWN))}")
    if row["kind"] not in KINDS:
        raise Unreadable(f"`kind` is one of {', '.join(KINDS)}")
    kind, value = FeedbackKind(row["kind"]), row["value"]
    if kind == FeedbackKind.PREFERENCE:
        _check_preference(value)
    tags = row.get("tags") or []
    if not isinstance(tags, list):
        raise Unreadable("`tags` isn't a list")
    texts = ("id", "contributor", "comment")
    optional: dict[str, Any] = {name: words(row[name], f"`{name}`") for name in texts if row.get(name) is not None}
    for name in ("store", "training", "cut_off"):
        if row.get(name) is not None:
            optional[name] = _flag(row[name], name)
    yield Record(
        line,
        turns(row["messages"]),
        words(row["reply"], "`reply`"),
        kind,
        value,
        tags=tuple(words(tag, "a tag") for tag in tags),
        created_at=None if row.get("created_at") is None else moment(row["created_at"]),
        **optional,
    )


def as_row(record: Record) -> dict[str, Any]:
    """A record as a line of an export; what it doesn't know is left out."""
    optional = {
        "contributor": record.contributor,
        "comment": record.comment,
        "tags": list(record.tags) or None,
        "created_at": record.created_at.isoformat() if record.created_at else None,
        "store": record.store,
        "training": record.training,
        "cut_off": record.cut_off or None,
    }
    return {
        **({"id": record.id} if record.id else {}),
        "kind": record.kind.value,
        "messages": [{"role": role, "content": content} for role, content in record.messages],
        "reply": record.reply,
        "value": record.value,
        **{name: value for name, value in optional.items() if value is not None},
    }


def _check_preference(value: Any) -> None:
    fields = set(value) if isinstance(value, dict) else set()
    if fields == {"rejected"}:
        words(value["rejected"], "`value.rejected`")
    elif fields == {"tie", "other"} and value["tie"] in list(TIES):
        words(value["other"], "`value.other`")
    else:
        raise Unreadable('a preference\'s `value` is {"rejected": the other reply}, or a tie with the `other` one')


def _flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise Unreadable(f"`{name}` isn't true or false")
    return value
