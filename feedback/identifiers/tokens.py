"""Keys and tokens by their own look: a vendor's form, or nothing but disorder.

Disorder takes length: letters of both cases and digits that keep changing places, or hexadecimal digits. Numbers,
UUIDs, words in any spelling, checksums that are called so and what public pages are called by in links are none.
"""

import re
from collections.abc import Iterator
from itertools import pairwise

from feedback.identifiers.spans import Span

_SHORTEST = 20
_VENDORS = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"sk-[A-Za-z0-9_-]{20,}"  # OpenAI, Anthropic, and ours: sk-burnish-
    r"|(?:gh[pousr]_|github_pat_|glpat-|hf_|npm_|pypi-|dop_v1_|shp(?:at|ss|ca|pa)_|(?:sk|pk|rk)_(?:live|test)_|gsk_"
    r"|xai-|pplx-|nvapi-|r8_|whsec_|lin_api_|dckr_pat_|hv[sb]\.|tskey-auth-|sq0[a-z]{3}-|figd_|glsa_|ATATT3|PMAK-|sntrys_|rubygems_)"
    r"[A-Za-z0-9_-]{16,}"
    r"|(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}(?![A-Za-z0-9])"
    r"|xox[a-z]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}|(?<=hooks\.slack\.com/services/)[A-Za-z0-9/]{20,}"
    r"|(?<=/api/webhooks/)[0-9]{17,20}/[A-Za-z0-9_-]{20,}"  # Discord
    r"|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,}"
    r"|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"
    r"|[0-9]{8,10}:AA[A-Za-z0-9_-]{33}"  # Telegram
    r"|AGE-SECRET-KEY-1[A-Z0-9]{20,}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]+)?"  # a JSON web token
    r")"
)
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{40,}={0,2}")
_RUN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9][A-Za-z0-9_-]{18,}[A-Za-z0-9]")
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_IN_LINK = re.compile(r"(?:://|www\.)[^\s?#=\"'<>()\[\]]{0,200}\Z")
_DIGEST = re.compile("[0-9a-f]{32,64}(?:-[A-Z][a-z]+)?")
_LONGEST_IN_LINKS = 30  # what opens a shared document or resets a password is longer
_CHECKSUM = re.compile(
    r"(?:sha-?[0-9]{0,3}|md5|hash(?:es)?|checksum|digest|commit|revision|etag)(?![a-z])[^\n]{0,40}\Z", re.IGNORECASE
)
_PACKAGES_CHECKSUM = re.compile(r"sha(?:256|384|512)-\Z")


def vendors_tokens(text: str) -> Iterator[Span]:
    for start, end in _long_words(text):
        yield from filter(None, map(_token, _VENDORS.finditer(text, start, end)))


def disorder(text: str) -> Iterator[Span]:
    for start, end in _long_words(text):
        picture = text.find(";base64,", start, end)
        end = picture if picture >= 0 else end
        in_base64 = [match for match in _BASE64.finditer(text, start, end) if _is_base64(match[0])]
        runs = [match for match in _RUN.finditer(text, start, end) if _is_disorderly(match[0])]
        for match in sorted(in_base64 + runs, key=lambda match: match.start() - match.end()):  # the longest first
            if not _is_public(match):
                yield Span(*match.span(), match[0])


def _long_words(text: str) -> Iterator[tuple[int, int]]:
    end = 0
    for word in text.split():
        if len(word) >= _SHORTEST:
            start = text.index(word, end)
            end = start + len(word)
            yield start, end


def _token(match: re.Match[str]) -> Span | None:
    """`sk-xxxxxxxxxxxxxxxxxxxxxxxx` shows where a key goes."""
    token, start = match[0], match.start()
    if token[-1] == "_" == match.string[start - 1 : start]:  # what Markdown prints in italics
        token = token[:-1]
    random = re.search("[0-9]|[a-z][A-Z]|^A[A-Z]{19}$", token)
    return Span(start, start + len(token), token) if random and len(set(token)) > 9 else None


def _is_public(match: re.Match[str]) -> bool:
    """A page's or a commit's name in a link, or the link itself; a checksum."""
    text, start = match.string, match.start()
    hexadecimal = re.fullmatch("[0-9a-f]+", match[0]) is not None
    if _IN_LINK.search(text, max(0, start - 200), start):
        return "/" in match[0] or len(match[0]) <= _LONGEST_IN_LINKS or _DIGEST.fullmatch(match[0]) is not None
    if hexadecimal:
        return _CHECKSUM.search(text, max(0, start - 60), start) is not None
    return _PACKAGES_CHECKSUM.search(text, max(0, start - 8), start) is not None


def _is_base64(run: str) -> bool:
    return re.search("[A-Z]", run) is not None and re.search("[a-z]", run) is not None and _changes(run) > 0.25


def share_of_words(run: str) -> float:
    """How much of it is words by their letters' case: 0.4 at random, more than 0.6 in names that code gives.

    >>> share_of_words("PrivateKeyTypes"), share_of_words("aB3xz9QQk1")
    (1.0, 0.2)
    """
    return sum(map(len, re.findall("[A-Z]?[a-z]{2,}", run))) / len(run)


def _is_disorderly(run: str) -> bool:
    digits, upper, lower = (re.search(kind, run) is not None for kind in ("[0-9]", "[A-Z]", "[a-z]"))
    if not digits or not (upper or lower) or _UUID.fullmatch(run):
        return False
    if upper and lower:
        longest = max(map(len, re.split("[_-]", run)))
        return longest >= 10 and _changes(run) >= 0.22 and share_of_words(run) < 0.6
    return len(run) >= 32 and run.isalnum() and _changes(run) >= 0.2 and len(set(run)) > 9


def _changes(run: str) -> float:
    """How often a character is of another kind than the one before it: 0.4 at random, less than 0.2 in names.

    A capital and the small letter after it don't count, nor what dashes and slashes divide.

    >>> _changes("SingletonFactoryBean2"), _changes("aB3xz-9QQk1")
    (0.15, 0.625)
    """
    kinds = run.translate(_KINDS)
    pairs = [one + other for one, other in pairwise(kinds) if one != " " != other]
    return sum(pair in _DISORDER for pair in pairs) / max(1, len(pairs))


_DISORDER = frozenset(("0A", "0a", "A0", "a0", "aA"))
_KINDS = str.maketrans(
    {character: kind for characters, kind in (
        ("0123456789", "0"), ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "A"), ("abcdefghijklmnopqrstuvwxyz", "a"), ("_-+/=", " ")
    ) for character in characters}
)  # fmt: skip
