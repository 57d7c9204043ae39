"""A training file's lines as examples, or why a line can't be one: OpenAI's JSONL for `supervised` and `dpo`.

A supervised line teaches every reply of its conversation whose `weight` isn't 0. Nothing that can't be learned is left
out in silence: tools, images and the like make a line a bad one. Reasons never quote a text. Leaves out what is done
with examples (dataset.py).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from feedback.columns import is_storable, texts_in
from feedback.curate.items import Turns
from feedback.interchange import openai_files, reading
from feedback.interchange.records import BadLine, Record, Unreadable, question_and_reply, turns

Method = Literal["supervised", "dpo"]
MIN_EXAMPLES = 10
"""OpenAI's, too."""
_GZIP = b"\x1f\x8b"
_TOOLS = ("tools", "functions", "function_call", "tool_choice")


@dataclass(frozen=True)
class Lesson:
    """A reply to learn, after what led to it; or to prefer to another one."""

    history: Turns
    reply: str
    rejected: str | None = None


@dataclass(frozen=True)
class Example:
    line: int
    lessons: tuple[Lesson, ...]


def read(path: Path, method: Method) -> Iterator[Example | BadLine]:
    """Every line, in order and in bounded memory."""
    with path.open("rb") as file:
        if file.read(len(_GZIP)) == _GZIP:
            yield BadLine(1, "the file is compressed: upload plain JSONL")
            return
    understand = _UNDERSTAND[method]
    for row in reading.rows(path):
        if isinstance(row, BadLine):
            yield row
            continue
        line, value = row
        try:
            yield Example(line, tuple(understand(line, value)))
        except Unreadable as error:
            yield BadLine(line, str(error))


def check(path: Path, method: Method, *, least: int = MIN_EXAMPLES, most: int = 20) -> str | None:
    """What is wrong with a training file, by line, `most` of it in full; None if it can be learned from.

    Raises nothing for whatever the file holds.
    """
    told: list[str] = []
    bad = good = 0
    for found in read(path, method):
        if isinstance(found, Example):
            good += 1
            continue
        bad += 1
        if bad <= most:
            told.append(f"line {found.line}: {found.reason}")
    if bad:
        more = f"; and {bad - most} more" if bad > most else ""
        return f"{bad} of {bad + good} lines can't be learned from: {'; '.join(told)}{more}."
    if good < least:
        return f"It has {good} example{'s' * (good != 1)}, and at least {least} are needed."
    return None


def supervised(line: int, row: Any) -> Iterator[Lesson]:
    """
    >>> asked, said = {"role": "user", "content": "How tall?"}, {"role": "assistant", "content": "330 metres."}
    >>> more = {"role": "user", "content": "And wide?"}, {"role": "assistant", "content": "125 metres."}
    >>> first, second = supervised(1, {"messages": [asked, said, *more]})
    >>> first, [role for role, _ in second.history]
    (Lesson(history=(('user', 'How tall?'),), reply='330 metres.', rejected=None), ['user', 'assistant', 'user'])
    >>> [lesson.reply for lesson in supervised(2, {"messages": [asked, {**said, "weight": 0}, *more]})]
    ['125 metres.']
    """
    _require_plain(row)
    if "messages" not in row:
        other = ": it is an example for the method dpo" if "preferred_output" in row else ""
        raise Unreadable(f"it has no `messages`{other}")
    conversation = turns(row["messages"])
    question_and_reply(conversation)
    lessons = []
    for place, (message, (role, content)) in enumerate(zip(row["messages"], conversation, strict=True)):
        weight, where = message.get("weight"), f"message {place + 1}"
        if weight is not None and (role != "assistant" or weight not in (0, 1)):
            raise Unreadable(f"{where} has a `weight` that means nothing: it is 0 or 1, and the assistant's")
        if role != "assistant":
            continue
        if not content.strip():
            raise Unreadable(f"{where}, the assistant's, is empty")
        if not any(asker == "user" and asked.strip() for asker, asked in conversation[:place]):
            raise Unreadable(f"nobody asked anything before {where}, the assistant's")
        if weight != 0:
            lessons.append(Lesson(conversation[:place], content))
    if not lessons:
        raise Unreadable("every reply's `weight` is 0, so nothing is to be learned from it")
    yield from lessons


def preferred(line: int, row: Any) -> Iterator[Lesson]:
    """
    >>> asked = {"messages": [{"role": "user", "content": "How tall?"}]}
    >>> right, wrong = ([{"role": "assistant", "content": text}] for text in ("330 metres.", "Tall."))
    >>> list(preferred(1, {"input": asked, "preferred_output": right, "non_preferred_output": wrong}))
    [Lesson(history=(('user', 'How tall?'),), reply='330 metres.', rejected='Tall.')]
    """
    _require_plain(row)
    for name in ("input", "preferred_output", "non_preferred_output"):
        if name not in row:
            other = ": it is an example for the method supervised" if "messages" in row else ""
            raise Unreadable(f"it has no `{name}`{other}")
    _require_plain(row["input"])
    asked = {name: row[name] for name in ("input", "preferred_output", "non_preferred_output")}
    for record in openai_files.record(line, asked):
        assert isinstance(record, Record)
        yield Lesson(record.messages, record.reply, record.value["rejected"])


def _require_plain(row: Any) -> None:
    if not isinstance(row, dict):
        raise Unreadable("it isn't an object")
    if used := next((name for name in _TOOLS if row.get(name)), None):
        raise Unreadable(f"it has `{used}`: the use of tools can't be learned")
    if not all(is_storable(text) for text in texts_in(row)):
        raise Unreadable("it has NUL characters, lone surrogates or bytes that aren't UTF-8")


_UNDERSTAND: dict[Method, Callable[[int, Any], Iterator[Lesson]]] = {"supervised": supervised, "dpo": preferred}
