"""Numbers that prove themselves by their check digits: Chinese resident IDs and company codes, cards, bank accounts;
and the one that hasn't any but a form of its own, the social security number of the United States.

Each may be written with spaces or dashes between its groups.
"""

import re
from collections.abc import Iterator
from datetime import date

from stdnum import iban, luhn
from stdnum.cn import uscc
from stdnum.iso7064 import mod_11_2

from feedback.identifiers.spans import Span, checked

_LEFT, _RIGHT = r"(?<![0-9A-Za-z])(?<![0-9][.,])", r"(?![0-9A-Za-z])"
_PROVINCE = r"(?:1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3]|91)"  # GB/T 2260; 91: foreigners with residence

_RESIDENT = re.compile(rf"(?<![0-9])(?<![0-9][.,])[1-9](?:[ -]?[0-9]){{16}}[ -]?[0-9Xx]{_RIGHT}")
_RESIDENT_FORM = re.compile(rf"{_PROVINCE}[0-9]{{4}}((?:18|19|20)[0-9]{{2}})([0-9]{{2}})([0-9]{{2}})[0-9]{{3}}[0-9X]")
_COMPANY = re.compile(
    rf"{_LEFT}[1-9ANYany][ -]?[1-59](?:[ -]?[0-9]){{6}}(?:[ -]?[0-9A-HJ-NP-RTUWXYa-hj-np-rtuwxy]){{10}}"
    rf"{_RIGHT}(?!/[0-9])"  # a card's month would fit
)
_COMPANY_FORM = re.compile(rf"[1-9ANY][1-59](?:{_PROVINCE}|10)[0-9A-Y]{{14}}")  # 10: registered with the state
_GROUP_BEFORE = re.compile("(?<=[0-9][ -])")
_CARD = re.compile(rf"{_LEFT}(?<!\+)[0-9]{{4,19}}(?:[ .-][0-9]{{2,}}){{0,4}}{_RIGHT}")
# ISO/IEC 7812: the issuers' first digits, and how long their numbers are
_ISSUED = re.compile(
    r"4[0-9]{12}(?:[0-9]{3}){0,2}|(?:5[0-8]|6[0-9]|81)[0-9]{11,17}|(?:22|2[3-7])[0-9]{14}|955[0-9]{13,16}"
    r"|(?:2131|1800)[0-9]{11}"
    r"|(?:5018|5020|5038|5[678][0-9]{2}|6304|6390|6759|676[123]|0604)[0-9]{8}|3[47][0-9]{13}"
    r"|(?:30|3[689])[0-9]{12,17}|35[0-9]{14,17}|9792[0-9]{12}"
)
_ACCOUNT = re.compile(r"(?:(?<![0-9A-Za-z])|(?<=IBAN))[A-Za-z]{2}[0-9]{2}(?:[ -]?[0-9A-Za-z]){11,30}(?![0-9A-Za-z])")
_ACCOUNT_HINT = re.compile(r"[0-9](?<=[A-Za-z][A-Za-z][0-9])[0-9][ -]?[0-9A-Za-z]{3}")

# SSA, "Social Security Number Randomization": the areas 000, 666 and 900 to 999 aren't given, nor groups of zeros
_SOCIAL = re.compile(
    r"(?:(?<=SSN)|(?<![0-9A-Za-z]))(?<![0-9][ .-])(?!000|666|9)[0-9]{3}([ -])(?!00)[0-9]{2}\1(?!0000)[0-9]{4}"
    r"(?![0-9A-Za-z]|[.-][0-9])"
)
_SOCIAL_SAID = re.compile(r"(?:social[ ]security|ssn|social)[^0-9\n]{0,40}\Z", re.IGNORECASE)


def social_security_numbers(text: str) -> Iterator[Span]:
    """With dashes as they stand; with spaces where somebody says so."""
    yield from checked(_SOCIAL, text, _social)


def resident_ids(text: str) -> Iterator[Span]:
    yield from checked(_RESIDENT, text, _resident)


def company_ids(text: str) -> Iterator[Span]:
    yield from checked(_COMPANY, text, _company)


def cards(text: str) -> Iterator[Span]:
    yield from checked(_CARD, text, _card)


def accounts(text: str) -> Iterator[Span]:
    if _ACCOUNT_HINT.search(text):
        yield from checked(_ACCOUNT, text, _account)


def _social(match: re.Match[str]) -> Span | None:
    said = match[1] == "-" or _SOCIAL_SAID.search(match.string, max(0, match.start() - 56), match.start())
    return Span(*match.span(), _compact(match[0])) if said else None


def _resident(match: re.Match[str]) -> Span | None:
    number = _compact(match[0])
    form = _RESIDENT_FORM.fullmatch(number)
    if not form or _is_a_row(match) or not mod_11_2.is_valid(number):
        return None
    try:
        date(*map(int, form.groups()))
    except ValueError:
        return None
    return Span(*match.span(), number)


def _company(match: re.Match[str]) -> Span | None:
    number = _compact(match[0])
    if not _COMPANY_FORM.fullmatch(number) or _is_a_row(match) or uscc.calc_check_digit(number[:17]) != number[17]:
        return None  # uscc.is_valid knows none of the codes that begin with a letter
    return Span(*match.span(), number)


def _card(match: re.Match[str]) -> Span | None:
    if re.fullmatch(r"[0-9]+\.[0-9]+", match[0]):
        return None
    for end, number in _prefixes(match):
        if len(number) == 12 < end - match.start():
            continue  # Maestro's shortest, in groups: three of the four of something else
        if _ISSUED.fullmatch(number) and luhn.is_valid(number) and len(set(number)) > 1:
            return Span(match.start(), end, number)
    return None


def _account(match: re.Match[str]) -> Span | None:
    for end, number in _prefixes(match):
        if len(number) >= 15 and iban.is_valid(number, check_country=False):
            return Span(match.start(), end, number)
    return None


def _prefixes(match: re.Match[str]) -> Iterator[tuple[int, str]]:
    """Where it could end, the longest first: what follows after a space may be something else."""
    written = match[0]
    for end in range(len(written), 0, -1):
        if written[end - 1].isalnum() and not written[end : end + 1].isalnum():
            yield match.start() + end, _compact(written[:end])


def _is_a_row(match: re.Match[str]) -> bool:
    """Of other numbers: nobody writes an ID in more than five groups, and none but its own stand before them."""
    groups = len(re.findall("[ -]", match[0])) + 1
    return groups > 5 or (groups > 1 and _GROUP_BEFORE.match(match.string, match.start()) is not None)


def _compact(written: str) -> str:
    return re.sub("[ .-]", "", written).upper()
