"""A correction's word diff is both texts, whatever they are, and is made in a moment."""

import time

import pytest
from hypothesis import given
from hypothesis.strategies import sampled_from, text

from service.web.word_diff import word_diff

WORDS = text(sampled_from("ab é,.’'-\n 中国の１½_"), max_size=40)


def side(before: str, after: str, change: str) -> str:
    return "".join(piece.text for piece in word_diff(before, after) if piece.change in ("same", change))


@given(WORDS, WORDS)
def test_what_stays_and_what_goes_is_the_one_text_what_stays_and_comes_the_other(before: str, after: str) -> None:
    assert "".join(side(before, after, "out").split()) == "".join(before.split())
    assert side(before, after, "in") == after


def test_chinese_is_compared_sign_by_sign() -> None:
    pieces = word_diff("退货期限是十四天。", "退货期限是三十天。")
    assert [(piece.change, piece.text) for piece in pieces if piece.change != "same"] == [
        ("in", "三"),
        ("out", "四"),
    ]


def test_equal_texts_are_all_the_same() -> None:
    assert {piece.change for piece in word_diff("The same, twice.", "The same, twice.")} == {"same"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a b " * 5000, "b a a " * 3300),
        ("的一是不" * 5000, "一的不是" * 5000),
        ("-" * 20_000, "'" * 20_000),
        ("\n" * 20_000, "x"),
        (
            "".join(chr(0x4E00 + n) + chr(0x20000 + n) for n in range(10_000)),
            "".join(chr(0x4E00 + n) + chr(0x24000 + n) for n in range(10_000)),
        ),
    ],
)
def test_the_longest_texts_do_not_take_long(before: str, after: str) -> None:
    began = time.monotonic()
    assert side(before, after, "in").strip() == after.strip()
    assert time.monotonic() - began < 2
