"""What identifies somebody, or opens something of theirs: found in a text by its form, and checked where it can be.

`find` promises: linear in the text's length, no exceptions, nothing found in its own placeholders, the same answer for
fullwidth, styled and zero-width spellings. It leaves out names (`names.py`), and numbers that only a context tells
from counts. Check digits and bank account formats are python-stdnum's. Each detector asks for what it can't do without
before it searches: texts are many, and most hold nothing.
"""

import re
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from feedback.identifiers.addresses import addresses
from feedback.identifiers.check_digits import accounts, cards, company_ids, resident_ids, social_security_numbers
from feedback.identifiers.credentials import passwords, passwords_and_keys
from feedback.identifiers.folding import fold
from feedback.identifiers.internet import emails, ips
from feedback.identifiers.phones import phones
from feedback.identifiers.spans import Span
from feedback.identifiers.tokens import disorder, vendors_tokens


class Kind(StrEnum):
    EMAIL = "email"
    PHONE = "phone"
    RESIDENT_ID = "resident_id"  # a Chinese citizen's number, GB 11643
    COMPANY_ID = "company_id"  # a Chinese unified social credit code, GB 32100
    SSN = "ssn"  # the social security number of the United States
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
    if not _has_one_of(_SIGNS, folded.text) and " dot " not in folded.text:
        return []
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
_DIGITS = "1023456789"
_SIGNS = _DIGITS + ":@=_([{<#$%^&*~+是为"  # hardly anything is private that has none of them nor such a neighbour

# a digit of a number of seven, of an IBAN's beginning, or of a word of twenty characters: half of them are on one side
_NUMBER = r"(?:[ ().\-/]{0,3}[0-9]){6}|(?<=[A-Za-z][A-Za-z][0-9])[0-9][ -]?[0-9A-Za-z]{3}"
_LONG_NUMBER = re.compile(rf"[0-9](?:{_NUMBER})")
_LONG_WORD_OR_NUMBER = re.compile(rf"[0-9](?:\S{{10}}|(?<=\S{{11}})|{_NUMBER})")


def _detectors(text: str) -> Iterator[tuple[Kind, Search]]:
    """Those that could find something, the surest first: where two claim the same characters, the first has them."""
    digits = _has_one_of(_DIGITS, text)
    long = _LONG_WORD_OR_NUMBER.search(text) if digits else None
    if long or "_" in text or "AKIA" in text:  # what hardly any token without digits is without
        yield Kind.SECRET, vendors_tokens
    yield Kind.SECRET, passwords_and_keys if digits or ":" in text or "=" in text else passwords
    yield Kind.EMAIL, emails
    if not digits:
        return
    if long and _LONG_NUMBER.search(text, long.start()):
        yield Kind.IBAN, accounts
        yield Kind.RESIDENT_ID, resident_ids
        yield Kind.COMPANY_ID, company_ids
        yield Kind.CARD, cards
        yield Kind.SSN, social_security_numbers
        yield Kind.PHONE, phones
    yield Kind.IP, ips
    yield Kind.ADDRESS, addresses
    if long:
        yield Kind.SECRET, disorder


def _has_one_of(characters: str, text: str) -> bool:
    for character in characters:  # noqa: SIM110 # faster than a generator, and than one search for them all
        if character in text:
            return True
    return False
