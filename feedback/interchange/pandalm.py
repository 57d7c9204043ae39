"""PandaLM's test set: an instruction, two replies, and several annotators' votes (0: a tie, 1 or 2: the better one).

Each annotator is a contributor of their own, so a row gives as many records, or ties, as it has votes.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from feedback.interchange.reading import each_row
from feedback.interchange.records import BadLine, Read, Tie, Unreadable, preference, words

_ANNOTATOR = re.compile(r"annotator\d+")


def recognises(row: Any) -> bool:
    return isinstance(row, dict) and row.keys() >= {"instruction", "response1", "response2", "annotator1"}


def read(path: Path) -> Iterator[Read]:
    return each_row(path, votes)


def votes(line: int, row: Any) -> Iterator[Read]:
    """
    >>> row = {"instruction": "Translate.", "input": "Ja", "response1": "No", "response2": "Yes"}
    >>> first, second = votes(1, row | {"annotator1": 2, "annotator2": 0})
    >>> first.messages, first.reply, first.value, first.contributor
    ((('user', 'Translate.\\n\\nJa'),), 'Yes', {'rejected': 'No'}, 'pandalm:annotator1')
    >>> second.reason
    'annotator2 found both replies equally good'
    """
    if not isinstance(row, dict):
        raise Unreadable("it isn't an object")
    names = sorted(name for name in row if _ANNOTATOR.fullmatch(name))
    if not names:
        raise Unreadable("it has no `annotator1`")
    for name in names:
        try:
            yield _vote(line, row, name)
        except Unreadable as error:
            yield BadLine(line, f"{name}: {error}")


def _vote(line: int, row: dict[str, Any], name: str) -> Read:
    instruction, given = words(row.get("instruction"), "`instruction`"), words(row.get("input", ""), "`input`")
    replies = [words(row.get(side), f"`{side}`") for side in ("response1", "response2")]
    vote = row[name]
    if type(vote) is not int or vote not in (0, 1, 2):
        raise Unreadable("the vote isn't 0, 1 or 2")
    if vote == 0:
        return Tie(line, f"{name} found both replies equally good")
    question = f"{instruction}\n\n{given}" if given.strip() else instruction
    chosen, rejected = replies[vote - 1], replies[2 - vote]
    return preference(line, (("user", question),), chosen, rejected, contributor=f"pandalm:{name}")
