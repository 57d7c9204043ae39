"""Passwords, tokens and keys by where they stand: within a URL or a private key's lines, behind the word for them.

What is given there must look like a secret: "the password is required" and `token = tokenizer.encode(text)` give none.
A password that is a plain word is found behind a sign only if something else than its letters tells it from one.
"""

import re
from collections.abc import Callable, Iterator

from feedback.identifiers.spans import Span
from feedback.identifiers.tokens import share_of_words

_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
    # no possessive repeat of a group: Python before 3.11.5 gets some of them wrong
    r"(?:[^-]*+(?:-(?!----)[^-]*+)*-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----|(?:\s|\\n|[A-Za-z0-9+/=]{16,})*)"
)
_IN_URL = re.compile(
    r"(?<=://)[^\s/@:\"'<>\[\]]{0,100}:(?!(?:pass(?:word|wd)?|pwd|secret|token|[*x]+)@)[^\s/@\"'<>\[\]]{1,200}(?=@)"
)
_OF_CURL = re.compile(r"(?<=[ ]-u[ ])[\"']?([^\s:\"'$]{1,64}:(?!\$)[^\s\"']{1,200})")

_ANYWHERE = re.compile("")
_ALONE = re.compile(r"(?<![A-Za-z])\Z")
_OF_SOMETHING = re.compile(
    r"(?:api|access|auth|private|account|client|encryption|signing|license|secret)[ _-]?\Z", re.IGNORECASE
)
_OF_SOMETHING_OR_ALONE = re.compile(f"{_ALONE.pattern}|{_OF_SOMETHING.pattern}", re.IGNORECASE)
# what names a password, and what names a key → what must stand before it
_PASSWORDS = {"pass": _ANYWHERE, "pw": _ANYWHERE, "pin": _ALONE, "senha": _ALONE}
_PASSWORDS_BEYOND_ASCII = _PASSWORDS | dict.fromkeys(
    ("密码", "密碼", "口令", "パスワード", "비밀번호", "пароль", "contraseña"), _ANYWHERE
)
_KEYS = {
    "secret": _OF_SOMETHING_OR_ALONE, "token": _OF_SOMETHING_OR_ALONE, "key": _OF_SOMETHING, "sessionid": _ANYWHERE,
    "session_id": _ANYWHERE, "bearer": _ALONE, "authorization": _ALONE,
}  # fmt: skip
_KEYS_BEYOND_ASCII = _KEYS | dict.fromkeys(("密钥", "令牌"), _ANYWHERE)

_GIVEN = re.compile(
    r"(?:(?<=pass)(?P<word>word|wort|wd|phrase|code|e)|(?<=pw)d?|(?<![a-z]pass))"
    r"(?:[ _-]?(?:id|code|number|key|value))?[\"'`*]{0,3}\s{0,3}"
    r"(?:(?P<sign>[:=]{1,2}|=>|は?:|是|就是|为|设为|改为|改成了?|>(?=\S))(?:\s?[\"'`]?(?:basic|bearer|token)(?=\s))?"
    r"|(?P<verb>(?<=\s)(?:is|was|to)(?:[ ]now)?(?=[\s:]):?)"
    r"|(?<=bearer)(?=\s)|\s(?=[\"'`])|(?<=password[ ]))"
    r"[\s\"'`*]{0,6}(?P<value>[^\s\"'`<>,;，。；、！？…“”‘’「」【】《》\u4e00-\u9fff]{4,200})",
    re.IGNORECASE,
)
_NEXT = re.compile(r"&(?=[A-Za-z_]\w*=)")
# self.password, call(), data[ and what stands there for something else: $PASSWORD, ${PASSWORD}, %s, %(password)s, /home
_NO_LITERAL = re.compile(
    r"(?:[A-Za-z_]+[0-9]?\.)+[A-Za-z_]+[0-9]?|[A-Za-z_][\w.]*(?:\(.*\)|\[.*\]|[(\[])"
    r"|(?:[a-z_]{3,}|(?:[A-Za-z_]+\.)+[A-Za-z_]+)[(=].*|\$[A-Za-z_]+[0-9]?|\$[{(].*"
    r"|%(?:\(\w+\))?[sdr]|%\w+%|[~.]{0,2}(?:/[\w.-]+)+/?|[(\[{].*[)\]}]|.*://.*"
)
_OF_KEYS = re.compile("[A-Za-z0-9_+/=.~:%-]+")
_QUOTES = "\"'`"
_AFTER = ".:?!&|*_,;"
_WRAPPERS = {")": "(", "]": "[", "}": "{"}
_ALGORITHM = re.compile(r"(?:sha|md|base|aes|rsa|utf|o?auth|argon|pbkdf|[bs]crypt)-?[0-9].*", re.IGNORECASE)


def passwords(text: str) -> Iterator[Span]:
    """
    >>> [found.value for found in passwords("DB_PASSWORD=hunter2, 密码是abc123。 Its password is required.")]
    ['hunter2', 'abc123']
    """
    yield from _around_passwords(text)
    yield from _given(text, _lower(text), _PASSWORDS, _PASSWORDS_BEYOND_ASCII, _like_a_password)


def passwords_and_keys(text: str) -> Iterator[Span]:
    """For texts with a digit or a colon, which keys hardly ever lack.

    >>> [found.value for found in passwords_and_keys("API key: 0123abcd4567, pass: letmein!1; key: value1234")]
    ['letmein!1', '0123abcd4567']
    """
    if "-----BEGIN" in text:
        yield from (Span(*match.span(), match[0]) for match in _PRIVATE_KEY.finditer(text))
    yield from _around_passwords(text)
    lower = _lower(text)
    yield from _given(text, lower, _PASSWORDS, _PASSWORDS_BEYOND_ASCII, _like_a_password)
    yield from _given(text, lower, _KEYS, _KEYS_BEYOND_ASCII, _like_a_key)


def _around_passwords(text: str) -> Iterator[Span]:
    """With the user's name, in a URL or for curl."""
    if "@" in text and "://" in text:
        yield from (Span(*match.span(), match[0]) for match in _IN_URL.finditer(text))
    if " -u" in text:
        yield from (Span(*match.span(1), match[1]) for match in _OF_CURL.finditer(text))


def _lower(text: str) -> str:
    return text.lower() if text.isascii() else text.replace("İ", "I").lower()  # the only one that lower() makes two of


def _given(
    text: str,
    lower: str,
    names: dict[str, re.Pattern[str]],
    beyond_ascii: dict[str, re.Pattern[str]],
    plausible: Callable[[str, re.Match[str], str], bool],
) -> Iterator[Span]:
    """What is given behind one of the names."""
    for name, before in (names if text.isascii() else beyond_ascii).items():
        place = lower.find(name)
        while place >= 0:
            end = place + len(name)
            given = _GIVEN.match(text, end)
            if given and before.search(text, max(0, place - 12), place):
                quoted = text[given.start("value") - 1] in _QUOTES and text[given.end() : given.end() + 1] in _QUOTES
                value = given["value"] if quoted else _trimmed(given["value"])
                if len(value) >= 4 and not _NO_LITERAL.fullmatch(value) and plausible(value, given, name):
                    start = given.start("value")
                    yield Span(start, start + len(value), value)
            place = lower.find(name, end)


def _trimmed(value: str) -> str:
    """Without what is the sentence's or the next value's.

    >>> _trimmed("hunter2)."), _trimmed("a(b)c1"), _trimmed("hunter2&role=admin")
    ('hunter2', 'a(b)c1', 'hunter2')
    """
    value = _NEXT.split(value, maxsplit=1)[0].rstrip(_AFTER)
    while value and value[-1] in _WRAPPERS and value.count(value[-1]) > value.count(_WRAPPERS[value[-1]]):
        value = value[:-1].rstrip(_AFTER)
    return value


def _like_a_key(value: str, given: re.Match[str], _name: str) -> bool:
    if given["verb"] and given["verb"].lower() == "to":
        return False
    letters, digits, mixed, _signs = _looks(value)
    random = digits or (mixed and len(value) >= 16 and share_of_words(value) < 0.6)
    return len(value) >= 8 and letters and random and _OF_KEYS.fullmatch(value) is not None


def _like_a_password(value: str, given: re.Match[str], name: str) -> bool:
    letters, digits, mixed, signs = _looks(value)
    if given["sign"]:
        a_count = name == "pass" and not given["word"] and not letters and len(value) < 6  # first pass: 1234
        return signs or mixed or (digits and not a_count)
    if given["verb"] and value.isdigit():
        return len(value) <= 12 and given["verb"].lower() != "to"
    if given["verb"] or given.string[given.start("value") - 1] in _QUOTES:
        return len(value) >= 6 and (signs or mixed or (digits and letters))
    several = len(re.findall("[0-9]", value)) > 1
    return len(value) >= 6 and (signs or (several and letters)) and not _ALGORITHM.fullmatch(value)


def _looks(value: str) -> tuple[bool, bool, bool, bool]:
    """Has it letters, digits, a capital after a small letter, signs beside letters or digits?"""
    letters, digits, mixed = (re.search(kind, value) is not None for kind in ("[A-Za-z]", "[0-9]", "[a-z][A-Z]"))
    return letters, digits, mixed, re.search(r"[A-Za-z0-9][!@#$%^&*~+]|[!@#$%^&*~+][A-Za-z0-9]", value) is not None
