"""What a conversation has once told as somebody's is theirs wherever it comes again: "my password is tea!4", then
"got it, tea!4", where no word beside it says so. Leaves out people's names: "Will" is a word, too.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator

from feedback.identifiers.find import Found, Kind

_LONGEST = 200
_SHORTEST = 7
"""Letters and digits from which nothing else is likely to be written with them."""
_OTHER = re.compile(r"[\W_]+")
_START = re.compile(r"(?<![^\W_])\S")
_FEW = 20
"""Values that are looked for one by one before a text's places are."""


class Repeats:
    """
    >>> repeats = Repeats()
    >>> repeats.remember(Found(Kind.PHONE, 8, 16, "5551234"), "555-1234")
    >>> [(one.start, one.end, one.value) for one in repeats.find("5551234? No, 15551234.")]
    [(0, 7, '5551234')]
    """

    def __init__(self) -> None:
        self._secrets: dict[str, Found] = {}  # as they are written
        self._others: dict[str, Found] = {}  # by their letters and digits

    def remember(self, found: Found, written: str) -> None:
        if found.kind == Kind.SECRET:
            if len(written) <= _LONGEST and not written.isalpha():  # a plain word means what it means elsewhere
                self._secrets.setdefault(written, found)
        elif found.kind not in (Kind.NAME, Kind.IP):
            for one in (_squeeze(written), _squeeze(found.value)):
                if _SHORTEST <= len(one) <= _LONGEST:
                    self._others.setdefault(one, found)

    def find(self, text: str) -> list[Found]:
        """In the order of the text, without overlaps."""
        found = [*self._find_secrets(text), *self._find_others(text)]
        found.sort(key=lambda one: (one.start, -one.end))
        place, kept = 0, []
        for one in found:
            if one.start >= place:
                kept.append(one)
                place = one.end
        return kept

    def _find_secrets(self, text: str) -> Iterator[Found]:
        if not _may_hold(text, self._secrets):
            return
        lengths = sorted(set(map(len, self._secrets)), reverse=True)
        for match in _START.finditer(text):
            start = match.start()
            for end in (start + length for length in lengths if start + length <= len(text)):
                known = self._secrets.get(text[start:end])
                if known and not (text[end - 1].isalnum() and text[end : end + 1].isalnum()):
                    yield Found(known.kind, start, end, known.value)
                    break

    def _find_others(self, text: str) -> Iterator[Found]:
        if not self._others or not _may_hold(_squeeze(text), self._others):
            return
        places = [place for place, character in enumerate(text) if character.isalnum()]
        plain = "".join(text[place].lower()[0] for place in places)
        lengths = sorted(set(map(len, self._others)), reverse=True)
        for match in _START.finditer(text):
            first = bisect_left(places, match.start())
            if first == len(places) or places[first] != match.start():
                continue
            for last in (first + length for length in lengths if first + length <= len(places)):
                known = self._others.get(plain[first:last])
                if known and (last == len(places) or places[last] > places[last - 1] + 1):
                    yield Found(known.kind, match.start(), places[last - 1] + 1, known.value)
                    break


def _may_hold(text: str, values: dict[str, Found]) -> bool:
    return len(values) > _FEW or any(value in text for value in values)


def _squeeze(text: str) -> str:
    return _OTHER.sub("", text.lower())
