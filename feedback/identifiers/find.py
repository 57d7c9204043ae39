"""What identifies somebody, or opens something of theirs: found in a text by its form, and checked where it can be.

`find` promises: linear in the text's length, no exceptions, nothing found in its own placeholders, the same answer for
fullwidth, styled and zero-width spellings. It leaves out names (`names.py`), and numbers that only a context tells
from counts. Check digits, bank account formats: python-stdnum. A text without identifiers costs some 10 µs.
"""

import re
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from feedback.identifiers.addresses import addresses
from feedback.identifiers.check_digits import accounts, cards, company_ids, resident_ids
from feedback.identifiers.credentials import credentials, disorder, keys, may_hold_keys
from feedback.identifiers.folding import fold
from feedback.identifiers.internet import emails, ips
from feedback.identifiers.phones import phones
from feedback.identifiers.spans import Span


class Kind(StrEnum):
    EMAIL = "email"
    PHONE = "phone"
    RESIDENT_ID = "resident_id"  # a Chinese citizen's number, GB 11643
    COMPANY_ID = "company_id"  # a Chinese unified social credit code, GB 32100
    CARD = "card"
    IBAN = "iban"
    IP = "ip"
    SECRET = "secret"  # noqa: S105 # keys, tokens, passwords
    ADDRESS = "address"
    NAME = "name"  # only with the extra `names`


@dataclass(frozen=True, slots=True)
class Found:
    kind: Kind
    start: int
    end: int
    value: str
    """Normalised: equal for two spellings of one identifier."""


def find(text: str) -> list[Found]:
    """In the order of the text, none within another.

    >>> [(one.kind.value, one.value) for one in find("Call Ada on +44 20 7946 0958 or ada@Example.org, room 12.")]
    [('phone', '442079460958'), ('email', 'ada@example.org')]
    """
    folded = fold(text)
    taken: list[tuple[int, int]] = []
    found: list[Found] = []
    for kind, search in _detectors(folded.text):
        for span in search(folded.text):
            at = bisect_left(taken, span[:2])
            overlaps = (at and taken[at - 1][1] > span.start) or (at < len(taken) and taken[at][0] < span.end)
            if not overlaps:
                insort(taken, span[:2])
                found.append(Found(kind, *folded.span(span.start, span.end), span.value))
    return sorted(found, key=lambda one: one.start)


Search = Callable[[str], Iterator[Span]]
_DIGIT = re.compile("[0-9]")
_DIGITS = re.compile(r"[0-9](?:[ ().\-/]{0,3}[0-9]){6}")


def _detectors(text: str) -> Iterator[tuple[Kind, Search]]:
    """Those that could find something, the surest first: where two claim the same characters, the first has them."""
    digits = _DIGIT.search(text) is not None
    long_words = may_hold_keys(text, digits)
    if long_words:
        yield Kind.SECRET, keys
    yield Kind.SECRET, credentials
    yield Kind.EMAIL, emails
    if not digits:
        return
    yield Kind.IBAN, accounts
    if _DIGITS.search(text):
        yield Kind.RESIDENT_ID, resident_ids
        yield Kind.COMPANY_ID, company_ids
        yield Kind.CARD, cards
        yield Kind.PHONE, phones
    yield Kind.IP, ips
    yield Kind.ADDRESS, addresses
    if long_words:
        yield Kind.SECRET, disorder
