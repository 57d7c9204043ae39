"""Two texts → what was taken out and what was put in, word by word, for `<del>` and `<ins>`.

Leaves out how it looks. Long texts are compared by lines, and ones that are nothing but change as a whole, so that no
text takes long.
"""

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

MOST_PIECES = 2_000
"""Words, or lines, of what differs on one side; more of them aren't held against each other."""
_WORDS = re.compile(r"[A-Za-zÀ-ɏ0-9_'’]+|\s+|.", re.DOTALL)
_LINES = re.compile(r"[^\n]*\n|[^\n]+")


@dataclass(frozen=True)
class Part:
    text: str
    kind: str
    """`same`, `out` or `in`."""


def differences(before: str, after: str) -> list[Part]:
    """
    >>> [(part.kind, part.text) for part in differences("Be kind.", "Be very kind!")]
    [('same', 'Be '), ('in', 'very '), ('same', 'kind'), ('out', '.'), ('in', '!')]
    """
    for pieces in (_WORDS, _LINES):
        old, new = pieces.findall(before), pieces.findall(after)
        begin = _alike(old, new)
        end = _alike(old[begin:][::-1], new[begin:][::-1])
        middle = old[begin : len(old) - end], new[begin : len(new) - end]
        if max(map(len, middle)) <= MOST_PIECES:
            return _joined([("same", old[:begin]), *_compared(*middle), ("same", old[len(old) - end :])])
    return _joined([("out", [before]), ("in", [after])])


def _compared(old: list[str], new: list[str]) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    for what, a, b, c, d in SequenceMatcher(None, old, new).get_opcodes():
        if what == "equal":
            found.append(("same", old[a:b]))
        else:
            found += [("out", old[a:b]), ("in", new[c:d])]
    return found


def _alike(old: list[str], new: list[str]) -> int:
    """How many pieces they begin with alike."""
    return next((place for place, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))


def _joined(parts: list[tuple[str, list[str]]]) -> list[Part]:
    return [Part("".join(pieces), kind) for kind, pieces in parts if pieces]
