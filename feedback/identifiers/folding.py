"""Text as a pattern should read it: fullwidth and styled characters as ASCII, odd spaces and dashes as plain ones.

What can't be seen (zero-width characters, soft hyphens, marks of direction) is left out; every character remembers
where it stood, so that what is found in the folded text can be replaced in the text itself. Letters of other scripts,
signs such as ² and ① and everything else stay as they are.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

# what needs folding, as ranges: one quick search tells most texts from those that must be rewritten
_FOLDABLE = re.compile(
    "[\u00a0\u00ad\u034f\u061c\u0660-\u0669\u06f0-\u06f9\u0966-\u096f\u09e6-\u09ef\u0e50-\u0e59\u180e\u2000-\u2015"
    "\u202a-\u202f\u205f-\u206f\u2160-\u217f\u2212\u3000\ufe00-\ufe0f\ufe50-\ufe6b\ufeff\uff01-\uff5e"
    "\U0001d400-\U0001d7ff]"
)
_UNSEEN = {"\u034f", *map(chr, range(0xFE00, 0xFE10))}  # joiners and variation selectors that aren't format characters
_STYLED = ("<wide>", "<font>", "<small>", "<noBreak>", "<compat>")


class Folded(NamedTuple):
    text: str
    origin: Sequence[int]
    """Where each of its characters stood."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """A non-empty stretch of the folded text → the stretch it was made from."""
        return self.origin[start], self.origin[end - 1] + 1


def fold(text: str) -> Folded:
    """
    >>> fold("１３８\u2013１２３４\u200b５６７８").text
    '138-12345678'
    >>> fold("é ²").text
    'é ²'
    """
    if text.isascii() or not _FOLDABLE.search(text):
        return Folded(text, range(len(text)))
    folded = text.translate(_TABLE)
    if len(folded) == len(text):
        return Folded(folded, range(len(text)))
    kept = [place for place, character in enumerate(text) if _TABLE[ord(character)]]
    return Folded(folded, kept)


class _Table(dict[int, str]):
    """Fills itself: Unicode is large, a conversation isn't."""

    def __missing__(self, code: int) -> str:
        self[code] = folded = _fold_character(chr(code))
        return folded


def _fold_character(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cf" or character in _UNSEEN:
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category == "Pd" or character == "\u2212":
        return "-"
    if category == "Zs":
        return " "
    plain = unicodedata.normalize("NFKC", character)
    styled = unicodedata.decomposition(character).startswith(_STYLED)
    return plain if styled and len(plain) == 1 and plain.isascii() else character


_TABLE = _Table()
