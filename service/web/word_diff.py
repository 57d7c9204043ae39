"""What a correction changes, word by word; of Chinese and other scripts without spaces, sign by sign.

Makes pieces of plain text, which templates escape like everything else that people wrote. Spaces count for nothing.
Texts that are too long, or repeat themselves too much, to be compared in a moment are compared line by line instead.
"""

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import Match, SequenceMatcher
from itertools import accumulate
from typing import Literal

Change = Literal["same", "out", "in"]

MOST_LOOKS = 400_000
"""Words and pairs of equal words, each with each, that may be looked at, some again and again: about 0.2 s."""
_UNSPACED = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff"
_TOKEN = re.compile(rf"\s*(?:[{_UNSPACED}]|[^\W{_UNSPACED}]+(?:['’.,:-][^\W{_UNSPACED}]+)*|[^\w\s]|\Z)\s*")
_LINE = re.compile(r"[^\n]*(?:\n+|\Z)")
_WORD = re.compile(r"\w")


@dataclass(frozen=True)
class Piece:
    change: Change
    text: str


class _TooLong(Exception):
    pass


class _Matcher(SequenceMatcher[str]):
    """Gives up after MOST_LOOKS: equal words that take turns with others are looked at once for each of them."""

    def __init__(self, old: list[str], new: list[str]) -> None:
        super().__init__(None, old, new, autojunk=False)
        there = Counter(new)
        self._looks = [0, *accumulate(1 + there[token] for token in old)]
        self._left = MOST_LOOKS

    def find_longest_match(self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None) -> Match:
        self._left -= self._looks[-1 if ahi is None else ahi] - self._looks[alo]
        if self._left < 0:
            raise _TooLong
        return super().find_longest_match(alo, ahi, blo, bhi)


def word_diff(before: str, after: str) -> list[Piece]:
    """
    >>> [f"{piece.change}: {piece.text}" for piece in word_diff("It is 324 m tall.", "It is 330 m tall.")]
    ['same: It is ', 'out: 324 ', 'in: 330 ', 'same: m tall.']
    >>> [f"{piece.change}: {piece.text}" for piece in word_diff("铁塔高324米。", "铁塔高330米。")]
    ['same: 铁塔高', 'out: 324', 'in: 330', 'same: 米。']
    """
    for tokens in (_TOKEN, _LINE):
        old, new = tokens.findall(before), tokens.findall(after)
        alike, alike_at_end = _ends(old, new)
        until = len(old) - alike_at_end, len(new) - alike_at_end
        middle = old[alike : until[0]], new[alike : until[1]]
        ends = [Piece("same", "".join(part)) for part in (new[:alike], new[until[1] :])]
        with suppress(_TooLong):
            return _joined([ends[0], *_changes(*middle), ends[1]])
    return _joined([Piece("out", before), Piece("in", after)])


def _ends(old: Sequence[str], new: Sequence[str]) -> tuple[int, int]:
    """How many tokens both begin with, and how many both end with."""
    most = min(len(old), len(new))
    first = next((at for at in range(most) if _name(old[at]) != _name(new[at])), most)
    last = next((at for at in range(most - first) if _name(old[-1 - at]) != _name(new[-1 - at])), most - first)
    return first, last


def _name(token: str) -> str:
    return token.strip()


def _changes(old: list[str], new: list[str]) -> list[Piece]:
    found = []
    steps = _Matcher([*map(_name, old)], [*map(_name, new)]).get_opcodes()
    for place, (step, i, j, k, m) in enumerate(steps):
        gone, come = "".join(old[i:j]), "".join(new[k:m])
        # a comma that stays between two words that don't only makes both harder to read
        lone = step == "equal" and 0 < place < len(steps) - 1 and not _WORD.search(come)
        if step == "equal" and not lone:
            found.append(Piece("same", come))
        else:
            found += [Piece("out", gone), Piece("in", come)]
    return found


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Everything that goes, then everything that comes, between two pieces that stay."""
    joined: list[Piece] = []
    gone = come = ""
    for piece in [*pieces, Piece("same", "")]:
        if piece.change == "same":
            joined += [Piece("out", gone), Piece("in", come), piece]
            gone = come = ""
        elif piece.change == "out":
            gone += piece.text
        else:
            come += piece.text
    return [piece for piece in joined if piece.text]
