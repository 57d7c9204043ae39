"""What identifies people is taken out of conversations before anything learns from them.

One redactor a conversation: it writes typed placeholders, and the same value has the same one in all its texts, also
where only another text tells that it is somebody's (`repeats`). What was redacted stays as it is when redacted again.
Placeholders can't be turned back: no table of them is kept. Takes no longer than some passes over the texts.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable

from feedback.identifiers.find import Found, Kind, find
from feedback.identifiers.repeats import Repeats

Finder = Callable[[str], list[Found]]
"""A text → what to take out of it, in the text's order and without overlaps; `names.finder` adds people's names."""

_PLACEHOLDER = re.compile(rf"\[({'|'.join(kind.upper() for kind in Kind)})_([0-9]{{1,9}})\]")
_HIGHEST_TYPED = 999_999
"""Of the numbers that somebody typed: counting on from there, placeholders stay such as the pattern knows."""
_MOST_PASSES = 20
"""So many neighbours of each other are found one after the other; what stands behind them goes as a whole."""


class Redactor:
    """
    >>> redactor = Redactor()
    >>> redactor.redact(["I'm ada@example.org, not bob@example.org.", "Hello, Ada@Example.org!"])
    (["I'm [EMAIL_1], not [EMAIL_2].", 'Hello, [EMAIL_1]!'], Counter({<Kind.EMAIL: 'email'>: 3}))
    >>> redactor.redact(["Write to bob@example.org."])[0]
    ['Write to [EMAIL_2].']
    """

    def __init__(self, find: Finder = find) -> None:
        self._find = find
        self._placeholders: dict[tuple[Kind, str], str] = {}
        self._last: Counter[Kind] = Counter()
        self._repeats = Repeats()

    def redact(self, texts: Iterable[str]) -> tuple[list[str], Counter[Kind]]:
        """The texts without what was found, and how much of each kind that was. Clean texts are returned themselves."""
        texts = list(texts)
        for text in texts:
            self._reserve(text)
        counts: Counter[Kind] = Counter()
        redacted = [self._redact(text, counts) for text in texts]
        for place, text in enumerate(redacted):
            if again := _outside_placeholders(text, self._repeats.find(text)):
                redacted[place] = self._redact(self._replace(text, again, counts), counts)
        return redacted, counts

    def _reserve(self, text: str) -> None:
        """A placeholder that is there already, from an earlier pass or typed by somebody, is never given again."""
        if "[" in text:
            for name, number in _PLACEHOLDER.findall(text):
                kind = Kind(name.lower())
                if int(number) <= _HIGHEST_TYPED:
                    self._last[kind] = max(self._last[kind], int(number))

    def _redact(self, text: str, counts: Counter[Kind]) -> str:
        # again until nothing is found: without its neighbour, the second of two that touched may look like one
        passes = 0
        while found := _outside_placeholders(text, self._find(text)):
            passes += 1
            if passes > _MOST_PASSES:
                rest = text[found[0].start :]
                found = [Found(found[0].kind, found[0].start, len(text), rest)]
            for one in found:
                self._repeats.remember(one, text[one.start : one.end])
            text = self._replace(text, found, counts)
        return text

    def _replace(self, text: str, found: list[Found], counts: Counter[Kind]) -> str:
        pieces: list[str] = []
        place = 0
        for one in found:
            pieces += text[place : one.start], self._placeholder(one)
            place = one.end
            counts[one.kind] += 1
        return "".join(pieces) + text[place:]

    def _placeholder(self, found: Found) -> str:
        key = found.kind, found.value
        if key not in self._placeholders:
            self._last[found.kind] += 1
            self._placeholders[key] = f"[{found.kind.upper()}_{self._last[found.kind]}]"
        return self._placeholders[key]


def _outside_placeholders(text: str, found: list[Found]) -> list[Found]:
    if not found or "[" not in text:
        return found
    there = [match.span() for match in _PLACEHOLDER.finditer(text)]
    ends = [end for _, end in there]

    def touches(one: Found) -> bool:
        first = bisect_right(ends, one.start)
        return first < len(there) and there[first][0] < one.end

    return [one for one in found if not touches(one)]
