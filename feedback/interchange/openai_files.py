"""The JSONL files of OpenAI's fine-tuning: SFT (`messages`) and DPO (`input`, `preferred_output`, …), line by line.

An SFT line teaches its last reply, as the right answer to what comes before it. Tool calls can't be learned.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from feedback.interchange.reading import each_row
from feedback.interchange.records import (
    Read,
    Record,
    Unreadable,
    correction,
    preference,
    question_and_reply,
    turns,
)


def recognises(row: Any) -> bool:
    return isinstance(row, dict) and ("preferred_output" in row or isinstance(row.get("messages"), list))


def read(path: Path) -> Iterator[Read]:
    return each_row(path, record)


def record(line: int, row: Any) -> Iterator[Read]:
    """
    >>> asked = [{"role": "user", "content": "How tall?"}]
    >>> right, wrong = ([{"role": "assistant", "content": text}] for text in ("330 metres.", "Tall."))
    >>> [taught] = record(1, {"messages": asked + right})
    >>> taught.messages, taught.reply, taught.value["content"]
    ((('user', 'How tall?'),), '', '330 metres.')
    >>> [chosen] = record(2, {"input": {"messages": asked}, "preferred_output": right, "non_preferred_output": wrong})
    >>> chosen.reply, chosen.value
    ('330 metres.', {'rejected': 'Tall.'})
    """
    if not isinstance(row, dict):
        raise Unreadable("it isn't an object")
    if "messages" in row:
        yield taught(line, row["messages"])
    elif "preferred_output" in row or "non_preferred_output" in row:
        asked = row.get("input")
        if not isinstance(asked, dict):
            raise Unreadable("`input` isn't an object with `messages`")
        chosen, rejected = (_single(row.get(name), name) for name in ("preferred_output", "non_preferred_output"))
        yield preference(line, turns(asked.get("messages"), "`input.messages`"), chosen, rejected)
    else:
        raise Unreadable("it has neither `messages` nor `preferred_output`")


def taught(line: int, messages: Any) -> Record:
    """The last reply of a conversation, as the right answer."""
    question, answer = question_and_reply(turns(messages))
    if messages[-1].get("weight") == 0:
        raise Unreadable("the last reply's `weight` is 0, so nothing is to be learned from it")
    return correction(line, question, answer)


def _single(value: Any, what: str) -> str:
    before, reply = question_and_reply(turns(value, f"`{what}`"), f"`{what}`")
    if before:
        raise Unreadable(f"`{what}` has several messages: a choice is between two single replies")
    return reply
