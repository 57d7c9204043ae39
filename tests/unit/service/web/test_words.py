"""Every sentence of the pages is there in every language, and none that no page says any more."""

import ast
import json
import re
from pathlib import Path

import pytest

from feedback import states
from feedback.reasons import WITH_VALUES
from feedback.sentences import Told, counted, listed
from service.web.words import LANGUAGES, Words

ROOT = Path(__file__).parents[4]
WEB = ROOT / "service" / "web"
TRANSLATED = [language for language in LANGUAGES if language != "en"]
IN_TEMPLATES = re.compile(
    r"""\bt(?:\.count)?\(\s*(?:[^"'()]*,\s*)?"((?:[^"\\]|\\.)*)"(?:\s*,\s*"((?:[^"\\]|\\.)*)")?"""
)
PLACES = re.compile(r"{\w+}")


def said() -> set[str]:
    """What templates hand to `t`, and every string in the pages' modules and in sentences that feedback makes."""
    found: set[str] = set()
    for template in (WEB / "templates").rglob("*.html"):
        text = template.read_text()
        found |= {one for match in IN_TEMPLATES.finditer(text) for one in match.groups() if one}
        found |= set(re.findall(r'\bplace\([^"]*"[^"]*", "([^"]+)"', text))
    return found | told()


def told() -> set[str]:
    """The templates of sentences that feedback makes, where they are handed over as they are."""
    found: set[str] = set()
    for module in (ROOT / "feedback").rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Told", "counted"):
                words = [one for argument in node.args for one in ast.walk(argument) if isinstance(one, ast.Constant)]
                found |= {one.value for one in words if isinstance(one.value, str)}
    return found


def strings() -> set[str]:
    """Every string in the code that could be said: words that are handed to `t` by a variable are among them."""
    found: set[str] = set()
    for folder in (WEB, ROOT / "service" / "api", ROOT / "feedback"):
        for module in folder.rglob("*.py"):
            nodes = ast.walk(ast.parse(module.read_text()))
            found |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    for template in (WEB / "templates").rglob("*.html"):
        found |= set(re.findall(r'"((?:[^"\\]|\\.)*)"', template.read_text()))
    return found | {str(state) for enum in vars(states).values() if isinstance(enum, type) for state in _members(enum)}


def _members(enum: type) -> list[object]:
    return list(getattr(enum, "__members__", {}).values())


def known(language: str) -> dict[str, str]:
    words: dict[str, str] = {}
    for path in sorted((WEB / "words" / language).glob("*.json")):
        more = json.loads(path.read_text("utf-8"))
        twice = words.keys() & more.keys()
        assert not twice, f"{path.name} says again: {twice}"
        words |= more
    return words


@pytest.mark.parametrize("language", TRANSLATED)
def test_what_templates_say_is_translated(language: str) -> None:
    assert said() - known(language).keys() == set()


@pytest.mark.parametrize("language", TRANSLATED)
def test_no_translation_is_of_something_that_nobody_says(language: str) -> None:
    assert known(language).keys() - strings() - said() == set()


def test_reasons_with_values_are_the_curations() -> None:
    """Else a receipt would tell them in English alone."""
    known = {
        "".join(part.value if isinstance(part, ast.Constant) else "{n}" for part in node.values)
        for module in (ROOT / "feedback" / "curate").glob("*.py")
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.JoinedStr)
    }
    assert set(WITH_VALUES) - known == set()


def test_sentences_with_sentences_in_them_are_said_whole_in_other_languages() -> None:
    what = listed([counted(3, "{n} correction", "{n} corrections"), counted(1, "{n} choice", "{n} choices"), "{x}"])
    people = counted(12, "{n} person", "{n} people")
    told = Told(
        "It learned from {what}; {people} said what it learned from, or was judged by.", what=what, people=people
    )
    assert (
        told
        == "It learned from 3 corrections, 1 choice and {x}; 12 people said what it learned from, or was judged by."
    )
    assert Words("en")(told) == told
    assert Words("zh")(told) == "它学习了 3 条更正、1 个选择和{x}；12 个人提供了它学习或接受评判所用的反馈。"


@pytest.mark.parametrize("language", TRANSLATED)
def test_translations_have_the_same_places_for_values(language: str) -> None:
    wrong = [text for text, there in known(language).items() if set(PLACES.findall(text)) != set(PLACES.findall(there))]
    assert wrong == []
