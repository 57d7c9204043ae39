"""Telephone numbers: international ones, Chinese mobiles, and national ones that look like nothing else.

National numbers differ from counts by their shape (a trunk zero, an area code in parentheses, 202-555-0143) or by what
is said before them ("call", "电话"): without either, digits stay. Lengths are those of ITU-T E.164; whether a number is
assigned isn't asked, since a private number is private before its prefix is in anybody's table.
"""

import re
from collections.abc import Iterator

from feedback.identifiers.spans import Span, checked

_GAP = r"(?:[ .\-/]|[ ]-[ ]|\)[ .\-/]?|[ .\-/]?\()"
# a decimal's or a price's digits are no number to call
_LEFT = r"(?<![0-9A-Za-z$€£¥])(?<![0-9][.,/+-])"
_RIGHT = r"(?![0-9A-Za-z]|[.,][0-9])"
_EXTENSION = r"(?:[ ,]{0,2}(?:[x#转]|ext\.?|extension)[ ]?[0-9]{1,6}(?![0-9]))?"
_LONGEST_EXTENSION = 24

_REGION = re.compile(r"[0-9](?:[ ().\-/]{0,3}[0-9]){6,}")  # where enough digits for a number to call stand together
_INTERNATIONAL = re.compile(
    rf"((?:(?<![0-9A-Za-z+])\+|{_LEFT}(?:00|011[ -]))\(?[1-9](?:{_GAP}?[0-9]){{6,15}}(?![0-9])){_EXTENSION}"
)
_MOBILE_CN = re.compile(
    rf"{_LEFT}(?:86[ -]?)?(1[3-9][0-9](?:[ .-]?[0-9]{{4}}){{2}}|1[3-9][0-9]{{2}}[ .-][0-9]{{3}}[ .-][0-9]{{4}}"
    rf"|1[3-9][0-9][ .-][0-9]{{3}}[ .-][0-9]{{5}}|1[3-9][0-9]{{3}}[ .-][0-9]{{6}}){_RIGHT}(?![ ]?元)"
)
_NORTH_AMERICAN = re.compile(
    rf"{_LEFT}(?:1[ .-]?)?(?:\([2-9][0-9]{{2}}\)[ -]?|[2-9][0-9]{{2}}[ ./-])[2-9][0-9]{{2}}[ .-][0-9]{{4}}"
    rf"{_EXTENSION}{_RIGHT}"
)
_TRUNK = re.compile(rf"({_LEFT}\(?0[1-9][0-9]{{0,4}}(?:{_GAP}[0-9]{{2,8}}){{1,5}}){_EXTENSION}{_RIGHT}")
_TRUNK_BARE = re.compile(rf"{_LEFT}0[1-9][0-9]{{8,9}}{_RIGHT}")
_RUSSIAN = re.compile(rf"{_LEFT}8[ -]?\(?[0-9]{{3}}\)?[ -]?[0-9]{{3}}[ -][0-9]{{2}}[ -]?[0-9]{{2}}{_RIGHT}")
_AREA_CODE = re.compile(rf"{_LEFT}(?:8[ ]?)?\([1-9][0-9]{{1,4}}\)[ -]?[0-9]{{2,5}}(?:[ -][0-9]{{2,5}}){{1,3}}{_RIGHT}")
_ANY = re.compile(rf"((?<![0-9])(?<![0-9][.,/+-])\(?[0-9](?:{_GAP}?[0-9]){{6,14}}){_EXTENSION}{_RIGHT}")

_CUE = re.compile(
    r"(?:(?<![a-z])(?:(?:cell|mobile|tele)?phone|t[eé]l(?:[eé](?:phone|fono?))?|mobile|mob|m[oó]vil|celular|handy|cell"
    r"|ph(?=[ .:])|call|ring|dial|text|sms|fax|whatsapp|viber|wechat|hotline|(?:reach|contact)[ ](?:me|us|him|her|them)"
    r"|contact(?=[ ](?:no|number)|:)|phones?[ ]number)(?![a-z])|телефону?|тел|моб|电话|手机|联系|致电|拨打|传真|热线"
    r"|座机|号码|来电|短信|微信|客服|[☎📞📱])[^0-9\n]{0,24}\Z"
    r"|(?:my|his|her|our|their|your|'s|the)[ ]number(?:'s|[ ]is|[ ]was|:)?[ ]?\Z"
    r"|(?<![a-z])[ptmf]:[ ]?\Z",
    re.IGNORECASE,
)
_CUE_REACH = 48
_CATALOGUE = re.compile(
    r"(?:isbn|ean|upc|issn|doi|sku|asin)(?:-1[03])?[^0-9a-z]{0,6}\Z|(?:://|10\.[0-9]{4,5}/)\S{0,60}\Z", re.IGNORECASE
)

# ITU-T E.164: the country codes that are assigned
_COUNTRY = re.compile(
    r"1|7|2(?:[07]|1[1-3689]|[2346][0-9]|5[0-8]|9[01789])|3(?:[0-469]|[57][0-9]|8[0-35-79])|4(?:[013-9]|2[013])"
    r"|5(?:[1-8]|[09][0-9])|6(?:[0-6]|7[02-9]|8[0-35-9]|9[0-2])|8(?:[1246]|0[08]|5[02356]|7[08]|8[0-368])"
    r"|9(?:[0-58]|6[0-8]|7[0-79]|9[2-68])"
)
_YEAR = re.compile(r"\((?:1[5-9]|20)[0-9]{2}\)")
_PAIR_BEFORE, _PAIR_AFTER = re.compile(r"(?<=[0-9][ .])"), re.compile(r"[ .][0-9]{2}(?![0-9])")
_ZIP_CODE, _STATE_BEFORE = re.compile("[0-9]{5}-[0-9]{4}"), re.compile(r"[A-Z]{2}[^0-9A-Za-z]{1,6}\Z")
_DATE = re.compile(
    r"(?:1[5-9]|20)[0-9]{2}[ ./-]+(?:1[5-9]|20)[0-9]{2}(?![0-9])"
    r"|(?:19|20|00)[0-9]{2}[./-][01]?[0-9][./-][0-3]?[0-9](?![0-9])"
    r"|[0-3]?[0-9][./-][0-3]?[0-9][./-](?:19|20)[0-9]{2}(?![0-9])"
    r"|[01][0-9][./-](?:19|20)[0-9]{2}(?![0-9]|[./-][0-9])"
)


def phones(text: str) -> Iterator[Span]:
    for region in _REGION.finditer(text):
        start, stop = max(0, region.start() - 4), region.end()
        for pattern, check in _FORMS:
            yield from checked(pattern, text, check, start, stop, _LONGEST_EXTENSION)
        # digits between them and the number, and the words say something else
        yield from checked(_ANY, text, _called, start, region.start() + 1, len(region[0]) + _LONGEST_EXTENSION)


def _international(match: re.Match[str]) -> Span | None:
    if _DATE.match(match[0]):
        return None
    for end, digits in _prefixes(match):
        digits = re.sub("^(?:00|011)", "", digits) if match[0][0] != "+" else digits
        if _is_international(digits, separated=end - match.start() > len(digits) + 3):
            return _span(match, end, re.sub(r"^86(?=1[3-9][0-9]{9}$)|^1", "", digits))
    return None


def _mobile_cn(match: re.Match[str]) -> Span | None:
    return _span(match, match.end(), _digits(match[1]))


def _north_american(match: re.Match[str]) -> Span | None:
    return _span(match, match.end(), _digits(match[0]).lstrip("1"))


def _plain(match: re.Match[str]) -> Span | None:
    return _span(match, match.end())


def _is_international(digits: str, *, separated: bool) -> bool:
    """`digits` with the country code. A round number of millions with a plus is a count."""
    if digits.startswith("1"):
        return re.fullmatch(r"1[2-9][0-9]{2}[2-9][0-9]{6}", digits) is not None
    if digits.startswith("7"):
        return len(digits) == 11
    if digits.startswith("861"):
        return len(digits) in (11, 12, 13)
    long_enough = 8 if separated else 9
    assigned = _COUNTRY.match(digits) is not None
    return assigned and long_enough <= len(digits) <= 15 and not digits.endswith("000000")


def _trunk(match: re.Match[str]) -> Span | None:
    """06 12 34 56 78 as in France, but not 04 08 15 16 23 42, nor 0171 0172 0173."""
    groups = re.findall("[0-9]+", match[1])
    lengths = {len(group) for group in groups}
    if _DATE.match(match[0].lstrip("(")) or (len(groups) == 2 and match[1].count(".") == 1):
        return None
    if _ZIP_CODE.fullmatch(match[1]) and _before(match, _STATE_BEFORE, 8):
        return None
    if _before(match, _CATALOGUE, 70):
        return None
    more = _PAIR_BEFORE.match(match.string, match.start()) or _PAIR_AFTER.match(match.string, match.end())
    if lengths == {2} and (len(groups) != 5 or more):
        return None
    if len(lengths) == 1 and all(group[0] == "0" for group in groups):
        return None
    return next((_span(match, end) for end, digits in _prefixes(match) if 9 <= len(digits) <= 13), None)


def _trunk_bare(match: re.Match[str]) -> Span | None:
    if _before(match, _CATALOGUE, 70) or match[0] in "01234567890":
        return None
    return _span(match, match.end())


def _area_code(match: re.Match[str]) -> Span | None:
    """(11) 91234-5678, but not volume (12) 345-360, nor the year (1998)."""
    if _YEAR.match(match[0]):
        return None
    return _span(match, match.end()) if 10 <= len(_digits(match[0])) <= 12 else None


def _called(match: re.Match[str]) -> Span | None:
    if not _before(match, _CUE, _CUE_REACH):
        return None
    if (
        " - " in match[0]
        or _DATE.match(match[0].lstrip("("))
        or re.match(r"[0-9]{1,2}\.[0-9]+(?![0-9]|[./-][0-9])", match[0])
    ):
        return None
    return next((_span(match, end) for end, digits in _prefixes(match) if 7 <= len(digits) <= 14), None)


def _before(match: re.Match[str], pattern: re.Pattern[str], reach: int) -> bool:
    return pattern.search(match.string, max(0, match.start() - reach), match.start()) is not None


def _prefixes(match: re.Match[str]) -> Iterator[tuple[int, str]]:
    """Where the number could end, the longest first: the last groups may be the next number's."""
    number = match[1]
    for end in range(len(number), 0, -1):
        closed = number.count("(", 0, end) <= number.count(")", 0, end)
        if closed and number[end - 1].isdigit() and not number[end : end + 1].isdigit():
            yield (match.end() if end == len(number) else match.start() + end), _digits(number[:end])


def _digits(number: str) -> str:
    """(0) is what callers from abroad leave out."""
    return re.sub("[^0-9]", "", number.replace("(0)", ""))


def _span(match: re.Match[str], end: int, digits: str = "") -> Span:
    """The number, with the parenthesis before it if one within it closes that.

    Numbers are told apart by the digits a caller at home would dial, as far as that is known.
    """
    text, start = match.string, match.start()
    number = text[start:end]
    if number.count(")") > number.count("(") and text[start - 1 : start] == "(":
        start -= 1
    elif number.startswith("(") and ")" not in number:
        start += 1
    return Span(start, end, digits or _digits(number))


_FORMS = (
    (_INTERNATIONAL, _international),
    (_MOBILE_CN, _mobile_cn),
    (_RUSSIAN, _plain),
    (_NORTH_AMERICAN, _north_american),
    (_TRUNK, _trunk),
    (_TRUNK_BARE, _trunk_bare),
    (_AREA_CODE, _area_code),
)
