"""The pages' languages: English sentences are the keys, `words/LANGUAGE/` has what they are there, a file a place."""

import json
from functools import cache
from pathlib import Path

from feedback.sentences import Told

LANGUAGES = {"en": "English", "zh": "中文"}
_FOLDER = Path(__file__).parent / "words"


class Words:
    """`words("{n} people", n=3)` in one language; what isn't translated stays English."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._known = {} if language == "en" else _read(language)

    def __call__(self, text: str, **values: object) -> str:
        """
        >>> Words("en")("{n} of {all}", n=1, all=2)
        '1 of 2'
        >>> Words("zh")("Sign in")
        '登录'
        """
        if isinstance(text, Told):
            values = {name: self(value) if isinstance(value, Told) else value for name, value in text.values.items()}
            text = text.template
        text = self._known.get(text, text)
        return text.format(**values) if values else text

    def count(self, number: int, one: str, many: str, **values: object) -> str:
        """
        >>> Words("en").count(1, "{n} person", "{n} people")
        '1 person'
        """
        return self(one if number == 1 else many, n=number, **values)


def negotiate(chosen: str | None, accepted: str) -> str:
    """What the person chose, else the first language of the browser's list that there are words in.

    >>> negotiate(None, "fr-CH, zh-TW;q=0.9, en;q=0.8"), negotiate("en", "zh"), negotiate("xx", "")
    ('zh', 'en', 'en')
    """
    if chosen in LANGUAGES:
        return chosen
    ranked = []
    for place, part in enumerate(accepted.split(",")[:20]):
        name, _, quality = part.partition(";q=")
        try:
            ranked.append((-float(quality or 1), place, name.strip()[:2].lower()))
        except ValueError:
            continue
    return next((language for _, _, language in sorted(ranked) if language in LANGUAGES), "en")


@cache
def _read(language: str) -> dict[str, str]:
    known: dict[str, str] = {}
    for path in sorted((_FOLDER / language).glob("*.json")):
        known |= json.loads(path.read_text("utf-8"))
    return known
