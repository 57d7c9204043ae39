"""Comments: free words about a reply, in `value` or `comment`."""

from typing import Any

from feedback.collect.kinds import Parsed
from feedback.errors import InvalidInput


def parse(value: Any, comment: str | None) -> Parsed:
    words = comment if value is None else value
    if not isinstance(words, str) or not words.strip():
        raise InvalidInput("A comment needs words: put them into `value` or `comment`.", param="value")
    return Parsed({"text": words.strip()})
