"""A stretch of text that may be an identifier, and the search that every detector shares."""

import re
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Span(NamedTuple):
    start: int
    end: int
    value: str
    """What is the same however it was written: digits without separators, an address in lower case."""


def checked(
    pattern: re.Pattern[str],
    text: str,
    check: Callable[[re.Match[str]], Span | None],
    start: int = 0,
    stop: int = sys.maxsize,
    reach: int = 0,
) -> Iterator[Span]:
    """What `pattern` matches and `check` confirms, beginning from `start` to `stop`, ending at most `reach` later.

    What isn't confirmed hides nothing that begins inside it. Linear for patterns that read no further than some hundred
    characters; those that may take all use `finditer`.
    """
    end = min(len(text), stop + reach)
    while (match := pattern.search(text, start, end)) and match.start() < stop:
        span = check(match)
        if span:
            yield span
        start = span.end if span else match.start() + 1
