"""Street addresses, as far as their form gives them away: English, French, German and Chinese ones, and those that end
in a postcode of five digits and a town.

A bare "10 Downing Street" is as often a sight as a home: in English a flat, a postcode, or words such as "live at" must
say which. A German or French street with its number, and a Chinese one with 号, are addresses as they stand.
"""

import re
from collections.abc import Iterator

from feedback.identifiers.spans import Span, checked

_STREET = (
    r"(?=[A-DGHLMPR-TW])(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Way|Place|Pl|Square|Sq"
    r"|Terrace|Ter|Parkway|Pkwy|Circle|Cir|Highway|Hwy|Close|Crescent|Grove|Row|Walk|Mews|Trail|Trl|Gardens|Broadway"
    r"|Loop|Alley|Cove|Pike|Crossing|Point)(?![a-z])"
)
_FLAT = r"(?:Apt|Apartment|Suite|Ste|Unit|Flat|Floor|Fl|Room|Rm)"
_POSTCODE = r"(?:[0-9]{5}(?:-[0-9]{4})?|[A-Z]{1,2}[0-9][0-9A-Z]?[ ][0-9][A-Z]{2}|[A-Z][0-9][A-Z][ ]?[0-9][A-Z][0-9])"
_NAME = r"[A-ZÀ-Þ][A-Za-zÀ-ÿ.'-]{1,20}"
_CITY = rf"{_NAME}(?:[ ](?:d['’]|(?:de|la|am|an[ ]der|bei|ob[ ]der|vorm)[ ])?{_NAME}){{0,2}}"
_THEN = r"(?:,?[ ]{1,2}|,?[ ]?\n{1,2})"  # or on the next line, as on an envelope
_WORD = r"(?:[A-Z][A-Za-z.'-]{0,20}+|[0-9]{1,3}(?:st|nd|rd|th))"

# what may follow a house number, and what may stand before and after the street's
_ENGLISH = (  # 12 Maple Street, Apt 3, Springfield, IL 62701
    rf"(?:{_WORD}[ ]){{1,4}}{_STREET}\.?(?:[ ](?:[NSEW]|[NS][EW])(?![A-Za-z]))?"
    rf"(?P<flat>{_THEN}(?:{_FLAT}\.?[ ]?#?|#[ ]?)[0-9A-Za-z-]{{1,6}}(?![A-Za-z]))?"
    rf"(?P<town>(?:{_THEN}{_CITY}){{0,2}}(?:(?:,?[ ]{{1,2}}[A-Z]{{2}})?{_THEN}{_POSTCODE}|,?[ ]{{1,2}}[A-Z]{{2}})"
    rf"(?![0-9A-Za-z]))?"
)
_ANY_STREET = (  # 12 Sunny Bottom, Springfield, IL 62701
    rf"(?:{_WORD}[ ]){{0,3}}{_WORD}(?:{_THEN}(?:{_FLAT}\.?[ ]?#?|#[ ]?)[0-9A-Za-z-]{{1,6}})?{_THEN}{_CITY}"
    rf"(?:,?[ ]{{1,2}}[A-Z]{{2}}{_THEN}|\n){_POSTCODE}(?![0-9A-Za-z])"
)
_FRENCH = (  # 5 bis, rue de la Paix, 75002 Paris
    r"(?:(?:bis|ter),?[ ])?(?:rue|avenue|boulevard|place|chemin|allée|impasse|quai|cours)[ ]"
    rf"(?:(?:de|du|des|la|le|les)[ ]|[dl]['’]){{0,2}}{_CITY}(?:{_THEN}[0-9]{{5}}[ ]{_CITY})?"
)
_SMALL = (  # 12 maple street, where somebody says that it is an address
    r"(?:[a-z]{2,20}+[ ]){1,2}(?:street|st|avenue|ave|road|rd|boulevard|blvd|lane|drive|court|terrace)(?![a-z])"
    r"(?:,?[ ](?:apt|apartment|unit|flat|#)[ ]?[0-9]{1,5}[a-z]?)?"
)
_POSTCODE_AND_TOWN = (  # Via Roma 12, 00184 Roma
    rf"(?:,[ ]|,?\n{{1,2}})(?:(?:[A-Z]{{1,2}}-)?[0-9]{{5}}|[0-9]{{4}}[ ]?[A-Z]{{2}})"
    rf"(?![ ](?:{_WORD}[ ]){{1,4}}{_STREET})(?:,?[ ]|\n){_CITY}|\n{{1,2}}{_CITY},[ ][0-9]{{5}}(?![0-9])"
)
_GERMAN = (  # Goethestr. 12a, 1010 Wien
    r"(?<=[egmrz.][ ][0-9])[0-9]{0,3}(?:/[0-9]{1,3}){0,2}[ ]?[a-h]?(?![0-9A-Za-z])"
    rf"(?:{_THEN}(?:[A-Z]{{1,2}}-)?[0-9]{{4,5}}[ ]{_CITY})?"
)
# one search for them all, which begins with a digit so that digits alone are looked at
_NUMBERED = re.compile(
    r"[0-9](?<![0-9][0-9])(?:[0-9]{0,4}[A-Za-z]?(?:[-/][0-9]{1,4})?"
    rf"(?:,?[ ](?:{_ENGLISH}|(?P<any>{_ANY_STREET})|(?P<french>{_FRENCH})|(?P<small>{_SMALL}))"
    rf"|(?P<town_after>{_POSTCODE_AND_TOWN}))"
    rf"|(?P<german>{_GERMAN}))"
)
_ALONE = re.compile(r"(?<![0-9A-Za-z$€£#])(?<![0-9][.,])")
_FLAT_BEFORE = re.compile(rf"(?<![A-Za-z]){_FLAT}\.?[ ]#?[0-9A-Z]{{1,5}}{_THEN}\Z")
_YEAR = re.compile("(?:19|20)[0-9]{2}(?![0-9])")
_STREET_BEFORE = re.compile(
    r"(?<![A-Za-zÀ-ÿ])(?!(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec|On|In|By|Since)[a-z]*[ ][^ ]*\Z)"
    r"(?:[A-ZÀ-Þ][a-zß-ÿ.'-]{1,20}|calle|via|rua)(?:[ ](?:d[aeio]|del|della|la|las|los|van|von|der))?"
    r"(?:[ ][A-ZÀ-Þ][a-zß-ÿ.'-]{1,20}){0,3},?[ ]\Z"
)
_BOX = re.compile(
    rf"(?<![A-Za-z])(?:P\.?[ ]?O\.?|(?:PSC|Unit)[ ][0-9]{{1,5}},?)[ ]Box[ ][0-9]{{1,6}}"
    rf"(?:{_THEN}(?:{_CITY},[ ](?:[A-Z]{{2}}[ ])?|[ADF]PO[ ]A[AEP][ ]){_POSTCODE})?"
)
_GERMAN_STREET = re.compile(
    r"(?<![A-Za-zÀ-ÿ-])(?:[A-ZÄÖÜ][a-zäöüß]{1,15}[- ]){0,2}(?:[A-ZÄÖÜ][a-zäöüß]{1,20}"
    r"(?:stra(?:ß|ss)e|str\.|gasse|allee|platz|weg|damm|ufer|steig)"
    r"|(?<=[a-zß][- ])(?:Stra(?:ß|ss)e|Str\.|Gasse|Allee|Platz|Weg|Ring|Damm|Ufer|Steig))[ ]\Z"
)
_CHINESE = re.compile(
    r"(?:路|街|道|巷|弄|胡同|村|里|园|区|镇|段)[ ]?[0-9]{1,5}(?:[-之][0-9]{1,4})?[ ]?"
    r"(?:号|弄)(?![线码召人门台机])(?:院|楼)?"
    r"(?:[ ]?(?:[\u4e00-\u9fff]{2,8}?(?:广场|大厦|中心|公寓|小区|花园|大楼|苑))?"
    r"[0-9A-Za-z一二三四五六七八九十-]{1,6}[ ]?(?:号[楼院]|栋|幢|座|楼|层|单元|室|号|户))*"
    r"(?:[\u4e00-\u9fff]{2,8}?(?:广场|大厦|中心|公寓|小区|花园|大楼|苑))?(?:[0-9]{2,4}(?![0-9]))?"
)
_HOME = re.compile(
    r"(?:address(?:[ ]is|es)?|liv(?:e|es|ed|ing)|resid(?:e|es|ing|ence)|home|house|stay(?:ing|s)?|ship(?:ped)?|sen[dt]"
    r"|deliver(?:ed|y)?|mail(?:ed)?|post|move[ds]?|moving|meet|come|office|visit[ ](?:me|us)"
    r"|pick[ ](?:me|us|him|her)[ ]up|find[ ](?:me|us))(?![a-z])[^0-9\n.]{0,24}\Z",
    re.IGNORECASE,
)
_HOME_RIGHT_BEFORE = re.compile(
    r"(?<![a-z])(?:(?:liv(?:e|es|ed|ing)|resid(?:e|es|ing)|stay(?:ing|s)?|ship|send|deliver|moved|home|house)"
    r"[^0-9\n.]{0,12}[ ](?:at|to)|address(?:[ ]is|:)?)[ ]{1,2}\Z",
    re.IGNORECASE,
)
# where an address begins that nothing separates from the words before it
_PROVINCE = re.compile(
    "北京|天津|上海|重庆|河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|四川|贵州"
    "|云南|陕西|甘肃|青海|台湾|内蒙古|广西|西藏|宁夏|新疆|香港|澳门"
)
_LEAD = re.compile("[\u4e00-\u9fff]{1,30}\\Z")
_AFTER_WORDS = re.compile("(?:.*[在到往址是为至寄]|.*(?<!从)去)(?=.)")


def addresses(text: str) -> Iterator[Span]:
    """For texts with a digit; a house has a number.

    >>> [found.value for found in addresses("I live at 12 Maple Street, near 10 Downing Street, not in Hauptstr. 5")]
    ['12 maple street', 'hauptstr 5']
    """
    yield from checked(_NUMBERED, text, _numbered)
    if "Box" in text:
        yield from checked(_BOX, text, _plain)
    if "号" in text or "弄" in text:
        yield from checked(_CHINESE, text, _chinese)


def _numbered(match: re.Match[str]) -> Span | None:
    text, start = match.string, match.start()
    if not _ALONE.match(text, start):
        return None
    if match["french"] or match["any"]:
        return _plain(match)
    if match["town_after"] or match["german"] is not None:
        street = _GERMAN_STREET.search(text, max(0, start - 80), start)
        if not street and match["town_after"] and not _YEAR.match(match[0]):  # During 2019, 10000 Swedes
            street = _STREET_BEFORE.search(text, max(0, start - 80), start)
        return _plain(match, street.start()) if street else None
    if match["small"]:
        return _plain(match) if _HOME_RIGHT_BEFORE.search(text, max(0, start - 40), start) else None
    before = _FLAT_BEFORE.search(text, max(0, start - 20), start)
    home = before or match["flat"] or match["town"] or _HOME.search(text, max(0, start - 40), start)
    return _plain(match, before.start() if before else start) if home else None


def _plain(match: re.Match[str], start: int | None = None) -> Span:
    start = match.start() if start is None else start
    written = match.string[start : match.end()]
    return Span(start, match.end(), " ".join(re.sub("[,.]", " ", written).casefold().split()))


def _chinese(match: re.Match[str]) -> Span | None:
    """The street's number was found; the names before it run back to the province, or to the word that leads to it."""
    text, start = match.string, match.start()
    lead = _LEAD.search(text, max(0, start - 30), start)
    if not lead:
        return None
    names = lead[0]
    province = _PROVINCE.search(names)
    words = _AFTER_WORDS.match(names)
    skipped = province.start() if province else words.end() if words else max(0, len(names) - 12)
    start = lead.start() + skipped
    return Span(start, match.end(), text[start : match.end()].replace(" ", ""))
