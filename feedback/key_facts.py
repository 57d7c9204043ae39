"""Whether a reply contains the strings that a right reply must contain. Leaves out what it means."""

import re
import unicodedata
from collections.abc import Iterable

_UNSPACED = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
"""Scripts that write words without spaces, or glue particles on: Thai, Lao, kana, Han, Hangul."""
_WORD = rf"[^\W{_UNSPACED}]"
_SAME = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "‐": "-", "‑": "-", "–": "-", "—": "-", "−": "-"})


def normalise(text: str) -> str:
    """Spell alike what reads alike: width, case, quotes, dashes, spaces, thousand separators.

    >>> normalise("Costs  1,200 €\\u00a0–  “Straße”")
    'costs 1200 € - "strasse"'
    >>> normalise("1 250 000 and 1'250 and 12,5 and 1,25,000")
    '1250000 and 1250 and 12,5 and 1,25,000'
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).translate(_SAME)
    spaced = re.sub(r"\s+", " ", folded).strip()
    return re.sub(r"(?<![\d.,])\d{1,3}(?:[,' ]\d{3})+(?![\d]|[,']\d)", _without_separators, spaced)


def contains_fact(reply: str, fact: str) -> bool:
    """Whole tokens only: no part of a longer word or number counts.

    >>> contains_fact("It costs 14 dollars.", "14"), contains_fact("It costs 140 dollars.", "14")
    (True, False)
    >>> contains_fact("Version 2.14 is out", "14"), contains_fact("Wait 14.", "14"), contains_fact("$14!", "$14")
    (False, True, True)
    >>> contains_fact("一共14天", "14"), contains_fact("the MANGO-72 key", "mango‑72")
    (True, True)
    """
    return contains_facts(reply, [fact])


def contains_facts(reply: str, facts: Iterable[str]) -> bool:
    return missing_fact(reply, facts) is None


def missing_fact(reply: str, facts: Iterable[str]) -> str | None:
    """The first that `reply` lacks."""
    given = normalise(reply)  # once: a long reply takes a while
    return next((fact for fact in facts if not _is_in(given, normalise(fact))), None)


def _is_in(given: str, wanted: str) -> bool:
    if not wanted or wanted not in given:
        return False
    before = rf"(?<!{_WORD})" if re.match(_WORD, wanted) else ""
    after = rf"(?!{_WORD})" if re.match(_WORD, wanted[-1]) else ""
    if wanted[0].isdigit():
        before += r"(?<!\d[.,:])"
    if wanted[-1].isdigit():
        after += r"(?![.,:]\d)"
    return re.search(before + re.escape(wanted) + after, given) is not None


def _without_separators(match: re.Match[str]) -> str:
    return re.sub(r"[,' ]", "", match[0])
