"""Text as a pattern should read it: fullwidth and styled characters as ASCII, odd spaces and dashes as plain ones.

What can't be seen (zero-width characters, soft hyphens, marks of direction) is left out; every character remembers
where it stood, so that what is found in the folded text can be replaced in the text itself. Letters of other scripts,
signs such as ² and ① and everything else stay as they are.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

# first and last of what may need folding: spaces, dashes, signs that can't be seen, digits of other scripts, styles
_RANGES = (
    (0xA0, 0xA0), (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x660, 0x669), (0x6F0, 0x6F9), (0x966, 0x96F),
    (0x9E6, 0x9EF), (0xE50, 0xE59), (0x180E, 0x180E), (0x2000, 0x2015), (0x202A, 0x202F), (0x205F, 0x206F),
    (0x2160, 0x217F), (0x2212, 0x2212), (0x3000, 0x3000), (0xFE00, 0xFE0F), (0xFE50, 0xFE6B), (0xFEFF, 0xFEFF),
    (0xFF01, 0xFF5E), (0x1D400, 0x1D7FF),
)  # fmt: skip
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
    folded = _FOLDABLE.sub(lambda match: _TABLE[match[0]], text)
    if len(folded) == len(text):
        return Folded(folded, range(len(text)))
    return Folded(folded, [place for place, character in enumerate(text) if _TABLE.get(character) != ""])


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


_FOLDABLE = re.compile(f"[{''.join(f'{chr(first)}-{chr(last)}' for first, last in _RANGES)}]")
_TABLE = {
    character: _fold_character(character) for first, last in _RANGES for character in map(chr, range(first, last + 1))
}
