"""Keys, tokens and passwords: by a known form, by what is said before them, or by their look.

A look alone takes length and disorder: letters of both cases and digits that keep changing places, or hexadecimal
digits. Numbers, UUIDs, words in any spelling and code that only names a password are none.
"""

import re
from collections.abc import Iterator

from feedback.identifiers.spans import Span

_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?:[^-]|-(?!----))*+-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----|(?:\s|\\n|[A-Za-z0-9+/=]{16,})*+)"
)
_IN_URL = re.compile(r"(?<=://)[^\s/@:\"'<>\[\]]{0,100}:[^\s/@\"'<>\[\]]{1,200}(?=@)")
_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"sk-[A-Za-z0-9_-]{20,}"  # OpenAI, Anthropic, and ours: sk-burnish-
    r"|(?:gh[pousr]_|github_pat_|glpat-|hf_|npm_|pypi-|dop_v1_|shp(?:at|ss|ca|pa)_|(?:sk|pk|rk)_(?:live|test)_)"
    r"[A-Za-z0-9_-]{16,}"
    r"|(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}(?![A-Za-z0-9])"
    r"|xox[a-z]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}|(?<=hooks\.slack\.com/services/)[A-Za-z0-9/]{20,}"
    r"|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,}"
    r"|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"
    r"|[0-9]{8,10}:AA[A-Za-z0-9_-]{33}"  # Telegram
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]+)?"  # a JSON web token
    r")"
)
_DIGITLESS = ("_", "sk-", "glpat-", "GOCSPX-", "AKIA", "ASIA", "AIza", "xox")
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{40,}={0,2}")
_RUN = re.compile(r"(?<![A-Za-z0-9_])[A-Za-z0-9_-]{20,}")
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_SHORTEST_KEY = 20

_ALONE = re.compile(r"(?<![A-Za-z])\Z")
_ANYWHERE = re.compile("")
_OF_SOMETHING = re.compile(
    r"(?:api|access|auth|private|account|client|encryption|signing|license|secret)[ _-]?\Z", re.IGNORECASE
)
_OF_SOMETHING_OR_ALONE = re.compile(f"{_ALONE.pattern}|{_OF_SOMETHING.pattern}", re.IGNORECASE)
_NAMES = {
    # what names a password or a key → what must stand before it
    "pass": _ANYWHERE, "pwd": _ANYWHERE, "pin": _ALONE, "密码": _ANYWHERE, "口令": _ANYWHERE,
    "secret": _OF_SOMETHING_OR_ALONE, "token": _OF_SOMETHING_OR_ALONE, "key": _OF_SOMETHING, "密钥": _ANYWHERE,
    "令牌": _ANYWHERE, "bearer": _ALONE, "authorization": _ALONE,
}  # fmt: skip
_OF_PASSWORDS = frozenset(("pass", "pwd", "pin", "密码", "口令"))
_GIVEN = re.compile(
    r"(?:(?<=pass)(?:word|wd|phrase|code)|(?<![a-z]pass))(?:[ _-]?(?:id|code|number|key|value))?[\"'`*]{0,3}\s{0,3}"
    r"(?:(?P<sign>[:=]{1,2}|=>)(?:\s?[\"'`]?(?:basic|bearer|token)(?=\s))?|(?<=\s)is(?:[ ]now)?(?=[\s:]):?|是|为"
    r"|(?<=[Bb]earer)(?=\s)|\s(?=[\"'`]))"
    r"\s{0,3}[\"'`*]{0,3}(?P<value>[^\s\"'`<>\[\](){},;，。；、！？…“”‘’「」【】《》\u4e00-\u9fff]{4,200})(?P<opens>[(\[])?",
    re.IGNORECASE,
)
_REFERENCE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")


def credentials(text: str) -> Iterator[Span]:
    """What stands where secrets stand: in a URL, within a private key's lines, behind the word for it."""
    if "://" in text and "@" in text:
        yield from map(_whole, _IN_URL.finditer(text))
    if "-----BEGIN " in text:
        yield from map(_whole, _PRIVATE_KEY.finditer(text))
    lower = text.replace("İ", "I").lower()  # the only letter that lower() makes two of
    for name, before in _NAMES.items():
        place = lower.find(name)
        while place >= 0:
            span = _given(text, name, place) if before.search(text, max(0, place - 12), place) else None
            if span:
                yield span
            place = lower.find(name, place + len(name))


def keys(text: str) -> Iterator[Span]:
    """What its form gives away."""
    yield from filter(None, map(_key, _KEY.finditer(text)))


def disorder(text: str) -> Iterator[Span]:
    """What only looks like a key."""
    yield from (_whole(match) for match in _BASE64.finditer(text) if _changes(match[0]) > 0.25)
    yield from (_whole(match) for match in _RUN.finditer(text) if _is_disorderly(match[0]))


def may_hold_keys(text: str, digits: bool) -> bool:
    """Keys are long words, and hardly any has no digit: only of the known forms some do."""
    if not digits:
        for sign in _DIGITLESS:
            if sign in text:
                break
        else:
            return False
    return max(map(len, text.split()), default=0) >= _SHORTEST_KEY


def _whole(match: re.Match[str]) -> Span:
    return Span(*match.span(), match[0])


def _key(match: re.Match[str]) -> Span | None:
    """`sk-xxxxxxxxxxxxxxxxxxxxxxxx` shows where a key goes."""
    random = re.search("[0-9]|[a-z][A-Z]|^A[A-Z]{19}$", match[0])
    return _whole(match) if random and len(set(match[0])) > 9 else None


def _given(text: str, name: str, place: int) -> Span | None:
    match = _GIVEN.match(text, place + len(name))
    if not match or match["opens"]:
        return None
    value = match["value"].rstrip(".:?!&|*_")
    if len(value) < 4 or _REFERENCE.fullmatch(value) or "://" in value or value[0] in "$%":
        return None  # code that calls or names something, `$PASSWORD`, `%s`
    digits, letters, mixed = (re.search(kind, value) is not None for kind in ("[0-9]", "[A-Za-z]", "[a-z][A-Z]"))
    signs = re.search(r"[A-Za-z0-9][!@#$%^&*~+]|[!@#$%^&*~+][A-Za-z0-9]", value) is not None
    if name in _OF_PASSWORDS:
        plausible = signs or (digits and (letters or match["sign"] is not None)) or mixed
        plausible = plausible and (match["sign"] is not None or len(value) >= 6)
    else:
        plausible = len(value) >= 8 and letters and (digits or (mixed and len(value) >= 16))
    start = match.start("value")
    return Span(start, start + len(value), value) if plausible else None


def _is_disorderly(run: str) -> bool:
    digits, upper, lower = (re.search(kind, run) is not None for kind in ("[0-9]", "[A-Z]", "[a-z]"))
    if not digits or not (upper or lower) or _UUID.fullmatch(run):
        return False
    if upper and lower:
        return _changes(run) >= 0.22
    return len(run) >= 32 and run.isalnum() and _changes(run) >= 0.2 and len(set(run)) > 9


def _changes(run: str) -> float:
    """How often a character is of another kind than the one before it: 0.4 at random, less than 0.2 in names.

    A capital and the small letter after it don't count, nor what dashes and slashes divide.

    >>> _changes("How-To-Learn-Python3-In-2021"), _changes("SingletonFactoryBean2"), _changes("aB3xz9QQk1")
    (0.05, 0.15, 0.6666666666666666)
    """
    kinds = run.translate(_KINDS)
    pairs = [one + other for one, other in zip(kinds, kinds[1:], strict=False) if one != " " != other]
    return sum(pair in _DISORDER for pair in pairs) / max(1, len(pairs))


_DISORDER = frozenset(("0A", "0a", "A0", "a0", "aA"))
_KINDS = str.maketrans(
    {character: kind for characters, kind in (
        ("0123456789", "0"), ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "A"), ("abcdefghijklmnopqrstuvwxyz", "a"), ("_-+/=", " ")
    ) for character in characters}
)  # fmt: skip
