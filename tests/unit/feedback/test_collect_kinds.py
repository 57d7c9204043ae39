"""Each kind of feedback: which values it takes, what they become, and that a refusal names `value`."""

import time
from typing import Any

import pytest

from feedback.collect import comments, corrections, ratings, reports
from feedback.errors import InvalidInput
from feedback.models import Message

REPLY = Message(id=7)


@pytest.mark.parametrize(
    ("value", "score"),
    [(-1, -1.0), (1, 1.0), *(({"stars": stars}, (stars - 3) / 2) for stars in range(1, 6))],
)
def test_a_rating_becomes_a_score_from_minus_one_to_one(value: Any, score: float) -> None:
    parsed = ratings.parse(REPLY, value)
    assert (parsed.score, parsed.about) == (score, "reply 7")


@pytest.mark.parametrize(
    "value", [None, 0, 2, True, 1.0, "1", [1], {}, {"stars": 0}, {"stars": 6}, {"stars": True}, {"stars": 3, "of": 5}]
)
def test_other_ratings_are_refused(value: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        ratings.parse(REPLY, value)
    assert refused.value.param == "value"


def test_a_correction_is_text_or_text_with_key_facts() -> None:
    assert corrections.parse(REPLY, " It is blue. ").value == {"content": "It is blue.", "key_facts": []}
    parsed = corrections.parse(REPLY, {"content": "It is Blue.", "key_facts": ["blue"]})
    assert parsed.value == {"content": "It is Blue.", "key_facts": ["blue"]}


def test_a_key_fact_loses_the_spaces_that_the_correction_loses() -> None:
    parsed = corrections.parse(REPLY, {"content": " blue", "key_facts": [" blue "]})
    assert parsed.value == {"content": "blue", "key_facts": ["blue"]}


def test_a_key_fact_said_again_counts_once_and_there_may_be_so_many() -> None:
    facts = [f"w{number}" for number in range(corrections.MAX_KEY_FACTS)]
    parsed = corrections.parse(REPLY, {"content": " ".join(facts), "key_facts": [*facts[::-1], " w3", "w0"]})
    assert parsed.value["key_facts"] == facts[::-1]
    with pytest.raises(InvalidInput, match=f"{corrections.MAX_KEY_FACTS} different strings, these are 21") as refused:
        corrections.parse(REPLY, {"content": "w20 " + " ".join(facts), "key_facts": [*facts, "w20"]})
    assert refused.value.param == "value"


def test_a_correction_that_is_all_expanding_letters_and_facts_is_read_at_once() -> None:
    longest = "\ufdfa" * 9_000  # each reads as 18 letters
    began = time.process_time()
    corrections.parse(REPLY, {"content": f"{longest} .", "key_facts": [longest, *"." * 9_000]})
    with pytest.raises(InvalidInput, match="different strings"):
        corrections.parse(REPLY, {"content": longest, "key_facts": [f"{number}" for number in range(3_000)]})
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("told", "stored"),
    [
        ("2027-02-01", "2027-02-01T00:00:00+00:00"),
        ("2027-02-01T12:00:00", "2027-02-01T12:00:00+00:00"),
        ("2027-02-01T12:00:00+02:00", "2027-02-01T10:00:00+00:00"),
    ],
)
def test_a_correction_may_hold_until_a_day_or_a_moment(told: str, stored: str) -> None:
    parsed = corrections.parse(REPLY, {"content": "The sale is on.", "expires_at": told})
    assert parsed.value == {"content": "The sale is on.", "key_facts": [], "expires_at": stored}
    forever = corrections.parse(REPLY, {"content": "The sale is on.", "expires_at": None})
    assert forever.value == {"content": "The sale is on.", "key_facts": []}


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "  ",
        5,
        {},
        {"content": " "},
        {"content": 5},
        {"content": "blue", "key_facts": "blue"},
        {"content": "blue", "key_facts": [""]},
        {"content": "blue", "key_facts": [5]},
        {"content": "blue", "key_facts": ["red"]},
        {"content": "blue", "facts": []},
        {"content": "blue", "expires_at": "soon"},
        {"content": "blue", "expires_at": 1800000000},
        {"content": "blue", "expires_at": "0001-01-01T00:00:00+02:00"},
    ],
)
def test_other_corrections_are_refused(value: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        corrections.parse(REPLY, value)
    assert refused.value.param == "value"


@pytest.mark.parametrize(("value", "comment"), [(" slow ", None), (None, " slow "), ("slow", "and long")])
def test_a_comment_is_words_in_either_place(value: Any, comment: str | None) -> None:
    parsed = comments.parse(value, comment)
    assert parsed.value == {"text": "slow"}
    assert parsed.about is None  # comments add up


@pytest.mark.parametrize(("value", "comment"), [(None, None), (None, " "), (5, None), (["slow"], None)])
def test_other_comments_are_refused(value: Any, comment: str | None) -> None:
    with pytest.raises(InvalidInput) as refused:
        comments.parse(value, comment)
    assert refused.value.param == "value"


@pytest.mark.parametrize("category", reports.CATEGORIES)
def test_a_report_names_its_category(category: str) -> None:
    assert reports.parse(category).report_category == category


@pytest.mark.parametrize("value", [None, "rude", 1, ["abuse"], {"category": "abuse"}])
def test_other_reports_are_refused(value: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        reports.parse(value)
    assert refused.value.param == "value"
