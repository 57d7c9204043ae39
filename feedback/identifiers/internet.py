"""E-mail and IP addresses."""

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from feedback.identifiers.spans import Span, checked

# Scripts without spaces: there an address in Latin letters begins where the sentence's own letters end.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_LETTER = rf"[^\W_{_UNSPACED}]"  # or a digit
_SIGNS = r"._%+!#$*^`{}~'-"  # RFC 5322's, but for those that queries and paths are made of: = ? & / |
_NEVER_FIRST = _SIGNS.replace("_", "").replace("+", "")
_MOST_LOCAL, _MOST_DOMAIN = 64, 253

_LOCAL = re.compile(rf"(?:{_LETTER}|[{_SIGNS}])+\Z")
_LOCAL_UNSPACED = re.compile(rf"[\w{_SIGNS}]+\Z")
_LOCAL_QUOTED = re.compile(r'"[A-Za-z0-9._ -]{1,62}"\Z')
_DOMAIN = re.compile(
    rf"(?:(?:{_LETTER}|-){{1,63}}\.){{1,8}}(?:[Xx][Nn]--[A-Za-z0-9-]{{2,59}}|[^\W\d_{_UNSPACED}]{{2,24}})"
    rf"(?!{_LETTER})(?:\.(?:中国|公司|网络|网址|香港|台湾))?"
)
_DOMAIN_UNSPACED = re.compile(r"(?:[\w-]{1,63}\.){1,8}(?:[A-Za-z]{2,24}(?![A-Za-z0-9_])|[^\W\d_]{2,24}(?!\w))")
_IN_URL = re.compile(r"://[^\s/@]*:\Z")  # where a password stands
_FILE_NAME = re.compile(r"\.(?:png|jpe?g|gif|svg|webp|css|js|ts|py|html?)\Z", re.IGNORECASE)  # icon@2x.png

# ada (at) example [dot] org, ada at example dot org, ada%40example.org
_BRACKETED_DOT = r"[ ]?[(\[{<][ ]?(?:dot|DOT|\.)[ ]?[)\]}>][ ]?"
_DOT = rf"(?:\.|{_BRACKETED_DOT}|[ ]dot[ ])"
_DOTTED_NAME = rf"([A-Za-z0-9-]{{1,63}}(?:{_DOT}[A-Za-z0-9-]{{1,63}}){{1,5}})(?![A-Za-z0-9])"
_BRACKETED = re.compile(rf"[(\[{{<](?:at|AT|@|[ ]at)[ ]?[)\]}}>][ ]?{_DOTTED_NAME}")
_BRACKETS = {bracket: [bracket + at for at in ("at", "AT", "@", " at")] for bracket in "([{<"}
_SPOKEN = re.compile(rf"(?:[ ](?:at|@)[ ]|@){_DOTTED_NAME}")
_ESCAPED = re.compile(rf"(?:%40|&#64;){_DOTTED_NAME}")
_SPELT_LOCAL = re.compile(r"(?<![A-Za-z0-9.%+-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}[ ]?\Z")
_ENDING = re.compile(
    r"(?:com|org|net|edu|gov|info|io|ai|dev|app|co|uk|us|ca|au|de|fr|es|it|nl|ch|at|pl|ru|in|cn|jp|kr|br|eu)\b"
)
_WRITTEN_TO = re.compile(r"(?:mail|contact|writ|reach|send|address|邮)[^\n]{0,40}\Z", re.IGNORECASE)

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"(?<![0-9A-Za-z.])(?<![A-Za-z]-){_OCTET}(?:\.{_OCTET}){{3}}(?!_?[0-9A-Za-z]|\.[0-9]|-[A-Za-z])")
_VERSION = re.compile(
    r"(?<![a-z])(?:version|ver|release|build|firmware|kernel|driver|update|section|chapter|figure|fig\.|table|clause|§|版本|v)"
    r"[ .:]{0,3}\Z",
    re.IGNORECASE,
)
_IPV6 = re.compile(
    rf"(?<![0-9A-Za-z])(?<!::)(?:[0-9A-Fa-f]{{1,4}}|:):(?:[0-9A-Fa-f:]{{0,30}}(?<=:){_OCTET}(?:\.{_OCTET}){{3}}"
    r"|[0-9A-Fa-f:]{1,36})(?:%[0-9A-Za-z]{1,15})?(?![0-9A-Za-z])"
)
_DOTTED, _COLONS = re.compile(r"\.[0-9]{1,3}\.[0-9]"), re.compile(":(?::|(?:[0-9A-Fa-f]{1,4}:){5})")


def emails(text: str) -> Iterator[Span]:
    """
    >>> [text.value for text in emails("写信到Li@Example.com吧, or bob [at] example [dot] org")]
    ['li@example.com', 'bob@example.org']
    """
    place = text.find("@")
    while place >= 0:
        span = _email(text, place)
        if span:
            yield span
        place = text.find("@", span.end if span else place + 1)
    for bracket, starts in _BRACKETS.items():
        if bracket in text and any(start in text for start in starts):
            yield from checked(_BRACKETED, text, _spelt)
            break
    if " dot " in text or ("@" in text and " @ " in text):
        yield from checked(_SPOKEN, text, _spoken)
    if ("%" in text and "%40" in text) or ("&" in text and "&#64;" in text):
        yield from checked(_ESCAPED, text, _spelt)


def _email(text: str, at: int) -> Span | None:
    before = text[max(0, at - _MOST_LOCAL) : at]
    local = _LOCAL.search(before) or _LOCAL_UNSPACED.search(before)
    domain = _DOMAIN.match(text, at + 1, at + 1 + _MOST_DOMAIN) or _DOMAIN_UNSPACED.match(text, at + 1)
    if not domain:
        return None
    if not local:
        quoted = _LOCAL_QUOTED.search(before)
        return Span(at - len(quoted[0]), domain.end(), f"{quoted[0]}@{domain[0]}".casefold()) if quoted else None
    italic = "_" if text[domain.end() : domain.end() + 1] == "_" else ""
    name = local[0].lstrip(_NEVER_FIRST + italic)
    if not name or name[-1] == "." or name == "git" or _FILE_NAME.search(domain[0]):
        return None
    if _IN_URL.search(text, max(0, at - len(name) - 100), at - len(name)):
        return None
    return Span(at - len(name), domain.end(), f"{name}@{domain[0]}".casefold())


def _spelt(match: re.Match[str]) -> Span | None:
    local = _SPELT_LOCAL.search(match.string, max(0, match.start() - _MOST_LOCAL - 2), match.start())
    domain = re.sub(_DOT, ".", match[1])
    last = domain.rpartition(".")[2]
    if not local or len(last) < 2 or not last.isalpha():
        return None
    return Span(local.start(), match.end(), f"{local[0].strip()}@{domain}".casefold())


def _spoken(match: re.Match[str]) -> Span | None:
    """Sentences are full of "at": what stands before it must look like an address, or something before must say so."""
    span = _spelt(match)
    if not span or not _ENDING.fullmatch(span.value.rpartition(".")[2]):
        return None
    if match[0][0] == "@":
        return span if " dot " in match[0] else None
    sure = re.search("[0-9._]", span.value.partition("@")[0])
    return span if sure or _WRITTEN_TO.search(match.string, max(0, span.start - 60), span.start) else None


def ips(text: str) -> Iterator[Span]:
    """Addresses of machines; loopbacks, masks and multicast groups are the same everywhere.

    >>> [text.value for text in ips("from 2001:DB8:0:0::7 and 192.0.2.7, not 127.0.0.1, version 1.2.3.4, 12:30:45")]
    ['2001:db8::7', '192.0.2.7']
    """
    if _COLONS.search(text):
        yield from checked(_IPV6, text, _ipv6)
    if _DOTTED.search(text):
        yield from checked(_IPV4, text, _ipv4)


def _ipv4(match: re.Match[str]) -> Span | None:
    address = IPv4Address(match[0])
    common = address.is_loopback or address.is_multicast or address.is_reserved or match[0].startswith("0.")
    if common or _VERSION.search(match.string, max(0, match.start() - 16), match.start()):
        return None
    return Span(*match.span(), match[0])


def _ipv6(match: re.Match[str]) -> Span | None:
    """C++'s `a::b` and the time 12:30:45 aren't in use: global addresses begin with 2 or 3, local ones with f."""
    written = match[0].partition("%")[0]
    if written.endswith(":") and not written.endswith("::"):
        written = written[:-1]
    try:
        address = IPv6Address(written)
    except AddressValueError:
        return None
    used = address.packed[0] >> 5 == 1 or address.packed[0] in (0xFC, 0xFD, 0xFE) or address.ipv4_mapped is not None
    used = used or sum(len(group) > 2 for group in written.split(":")) > 3  # or written out, whatever it begins with
    whole = match.end() if "%" in match[0] else match.start() + len(written)
    return Span(match.start(), whole, address.compressed) if used and not address.is_loopback else None
