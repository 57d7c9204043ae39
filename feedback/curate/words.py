"""Words that carry meaning: what of a question or a correction tells it from another one, or denies it."""

import re

from feedback.curate.items import tidy

_ENGLISH = """a an the of to in on at for is are was were be do does did can could would will please tell me i you we
    your our us it its this that and so well hello hi hey thanks thank just know like want there have has with"""
_CARRY_NOTHING = frozenset([*_ENGLISH.split(), "请", "吗", "呢"])
CJK = re.compile("([\u3040-\u30ff\u3400-\u9fff])")


_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_NEGATION = re.compile(r"\b(?:not|no|never|none|cannot|without|[a-z]+n['’]t)\b|[不没沒無无未别勿]", re.IGNORECASE)


def claims(text: str) -> tuple[frozenset[str], int]:
    """The numbers in it and how often it denies something: two texts that differ here say two things, however alike.

    >>> claims("It holds 5 l, not 7.5.") == (frozenset({"5", "7.5"}), 1)
    True
    """
    return frozenset(_NUMBER.findall(text)), negations(text)


def negations(text: str) -> int:
    return sum(1 for _ in _NEGATION.finditer(text))


def gist(text: str) -> str:
    """Two questions with the same gist are the same question; near ones ("the red tank", "the blue tank") needn't be.

    >>> gist("Hello, could you please tell me: is the tank safe?"), gist("Is your tank safe"), gist("Are you?")
    ('tank safe', 'tank safe', 'are you')
    """
    return gist_of(tidy(text))


def gist_of(tidied: str) -> str:
    return " ".join(word for word in tidied.split() if word not in _CARRY_NOTHING) or tidied


def content_words(text: str) -> frozenset[str]:
    """
    >>> sorted(content_words("It is 5 metres long."))
    ['5', 'long', 'metres']
    """
    return frozenset(gist(CJK.sub(r" \1 ", text)).split())
