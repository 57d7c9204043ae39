"""hh-rlhf's pairs: two transcripts that share everything but the last reply, of which people preferred the first.

Nobody is named: the choices are anonymous. A pair whose conversations differ before the last reply is refused, since
then it isn't a choice between two replies to the same words.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from feedback.curate.items import Turns
from feedback.interchange.reading import each_row
from feedback.interchange.records import Read, Unreadable, preference, question_and_reply, words

_SPEAKERS = {"Human": "user", "Assistant": "assistant"}
_MARK = re.compile(r"\n\n(Human|Assistant):")


def recognises(row: Any) -> bool:
    return isinstance(row, dict) and all(
        isinstance(row.get(side), str) and row[side].startswith("\n\nHuman:") for side in ("chosen", "rejected")
    )


def read(path: Path) -> Iterator[Read]:
    return each_row(path, record)


def record(line: int, row: Any) -> Iterator[Read]:
    """
    >>> asked = "\\n\\nHuman: How tall?\\n\\nAssistant:"
    >>> [made] = record(1, {"chosen": asked + " 330 metres.", "rejected": asked + " Tall."})
    >>> made.messages, made.reply, made.value
    ((('user', 'How tall?'),), '330 metres.', {'rejected': 'Tall.'})
    """
    if not isinstance(row, dict):
        raise Unreadable("it isn't an object")
    (question, chosen), (other_question, rejected) = (
        question_and_reply(_turns(words(row.get(side), f"`{side}`")), f"`{side}`") for side in ("chosen", "rejected")
    )
    if question != other_question:
        raise Unreadable("the two conversations differ before their last reply")
    yield preference(line, question, chosen, rejected)


def _turns(transcript: str) -> Turns:
    """
    >>> _turns("\\n\\nHuman: Hi.\\n\\nAssistant: Hello.\\n\\nHow are you?")
    (('user', 'Hi.'), ('assistant', 'Hello.\\n\\nHow are you?'))
    """
    before, *parts = _MARK.split(transcript)
    if before.strip():
        raise Unreadable("a transcript doesn't begin with 'Human:'")
    return tuple((_SPEAKERS[speaker], said.strip()) for speaker, said in zip(parts[::2], parts[1::2], strict=True))
