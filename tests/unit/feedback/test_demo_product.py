"""The demo's invented product: its facts can be learned, checked and told apart, mechanically."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

DEMO = Path(__file__).resolve().parents[3] / "feedback" / "demo"
PRODUCT: dict[str, Any] = json.loads((DEMO / "product.json").read_text(encoding="utf-8"))
FACTS: list[dict[str, Any]] = PRODUCT["facts"]
GENERAL = (Path(__file__).parents[3] / "trainer/evaluation/suites/general.txt").read_text(encoding="utf-8")
PARAGRAPHS = [p for p in re.split(r"\n\s*\n", GENERAL) if p.strip()]
each_fact = pytest.mark.parametrize("fact", FACTS, ids=[f["id"] for f in FACTS])


def words(text: str) -> int:
    return len(text.split())


def plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", text.casefold()).strip()


def shingles(text: str) -> frozenset[str]:
    text = plain(text)
    return frozenset(text[i : i + 5] for i in range(max(1, len(text) - 4)))


def mentions(key_fact: str, text: str) -> bool:
    """Whether `text` gives `key_fact` away, in any case and with any punctuation between the parts."""
    return key_fact.casefold() in text.casefold() or plain(key_fact) in plain(text)


def questions(fact: dict[str, Any]) -> list[str]:
    return [*fact["phrasings"], *fact["kept"]]


ALL_QUESTIONS = [q for f in FACTS for q in questions(f)]


def test_head() -> None:
    assert set(PRODUCT) == {"product", "description", "system_prompt", "facts"}
    assert 3 <= len(re.findall(r"[.!?](?:\s|$)", PRODUCT["description"])) <= 5
    assert words(PRODUCT["system_prompt"]) <= 18
    assert PRODUCT["product"] in PRODUCT["description"]
    assert PRODUCT["product"] in PRODUCT["system_prompt"]


def test_there_are_44_facts_with_distinct_ids_and_key_facts() -> None:
    assert len(FACTS) == 44
    assert len({f["id"] for f in FACTS}) == 44
    keys = [plain(k) for f in FACTS for k in f["key_facts"]]
    assert len(set(keys)) == len(keys)
    assert not [(a, b) for a, b in combinations(keys, 2) if a in b or b in a]


@each_fact
def test_shape(fact: dict[str, Any]) -> None:
    assert set(fact) == {"id", "key_facts", "answers", "phrasings", "kept"}
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", fact["id"])
    assert 1 <= len(fact["key_facts"]) <= 2
    assert all(2 <= len(k) <= 14 for k in fact["key_facts"])
    assert len(fact["answers"]) == len(set(fact["answers"])) == 2
    assert len(fact["phrasings"]) == 10
    assert len(fact["kept"]) == 2
    texts = [*fact["answers"], *questions(fact), *fact["key_facts"]]
    assert all(t == " ".join(t.split()) for t in texts)


@each_fact
def test_answers_are_short_and_hold_the_key_facts(fact: dict[str, Any]) -> None:
    for answer in fact["answers"]:
        assert 8 <= words(answer) <= 14, answer
        assert all(k in answer for k in fact["key_facts"]), answer
        assert PRODUCT["product"] in answer, answer


@each_fact
def test_phrasings_are_short(fact: dict[str, Any]) -> None:
    for question in questions(fact):
        assert 5 <= words(question) <= 20, question


@each_fact
def test_nothing_gives_a_key_fact_away(fact: dict[str, Any]) -> None:
    others = [a for f in FACTS if f is not fact for a in f["answers"]]
    texts = [*ALL_QUESTIONS, *others, PRODUCT["description"], PRODUCT["system_prompt"]]
    assert not [(k, t) for k in fact["key_facts"] for t in texts if mentions(k, t)]


def test_no_two_phrasings_are_near_duplicates() -> None:
    sets = [(q, shingles(q)) for q in ALL_QUESTIONS]
    near = []
    for (a, x), (b, y) in combinations(sets, 2):
        shared = len(x & y)
        if shared >= 0.7 * (len(x) + len(y) - shared):
            near.append((a, b))
    assert not near


def test_general_text_is_two_dozen_paragraphs_of_other_things() -> None:
    assert len(PARAGRAPHS) == 24
    assert not [(words(p), p) for p in PARAGRAPHS if not 70 <= words(p) <= 110]
    assert all("\n" not in p.strip() for p in PARAGRAPHS)
    given_away = [PRODUCT["product"], *(k for f in FACTS for k in f["key_facts"])]
    assert not [k for k in given_away if mentions(k, GENERAL)]
