"""A fact counts when it stands in the reply as whole tokens, however it is typeset."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.key_facts import contains_fact, contains_facts, missing_fact, normalise

PRESENT = [
    ("It takes 1,200 ml.", "1200 ml"),
    ("It takes 1200 ml.", "1 200 ml"),
    ("Ask CARE@YARROW.IO, please", "care@yarrow.io"),
    ("It’s the “Blue” one", 'it\'s the "blue" one'),
    ("ｗｉｄｅ letters", "wide"),
    ("from 9:40 am on", "9:40 AM"),
    ("costs $14.", "$14"),
    ("2.3\u00a0litres", "2.3 litres"),
    ("(31 months)", "31 months"),
]
ABSENT = [
    ("It costs 140.", "14"),
    ("It costs 3.14.", "14"),
    ("It costs 14.5.", "14"),
    ("At 12:30 pm", "12"),
    ("marching", "march"),
    ("131 months", "31 months"),
    ("anything", ""),
    ("12,00 euros", "1200"),
]


@pytest.mark.parametrize(("reply", "fact"), PRESENT)
def test_present(reply: str, fact: str) -> None:
    assert contains_fact(reply, fact)


@pytest.mark.parametrize(("reply", "fact"), ABSENT)
def test_absent(reply: str, fact: str) -> None:
    assert not contains_fact(reply, fact)


def test_all_facts_are_needed() -> None:
    assert contains_facts("5 jars for 9 days", ["9 days", "5 jars"])
    assert not contains_facts("5 jars", ["9 days", "5 jars"])
    assert missing_fact("5 jars", ["5 jars", "9 days", "2 lids"]) == "9 days"
    assert missing_fact("5 jars", []) is None


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_numbers_match_only_themselves(said: int, wanted: int) -> None:
    assert contains_fact(f"It takes {said:,} seconds.", str(wanted)) == (said == wanted)


@given(st.from_regex(r"[a-z]{1,8}( [a-z]{1,8}){0,2}", fullmatch=True), st.text(" .,!?", max_size=3))
def test_a_fact_between_other_words_is_found(fact: str, mark: str) -> None:
    assert contains_fact(f"Well, {fact.upper()} {mark} indeed", fact)
    assert not contains_fact(f"Wellx{fact}xindeed", fact)
