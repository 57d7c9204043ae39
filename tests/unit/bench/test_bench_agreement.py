"""The measure of how far two sets of logits agree, worked by hand."""

import math

import pytest
from bench.agreement import compare_logits

EVEN, THREE_TO_ONE = [0.0, 0.0], [math.log(3), 0.0]


def test_equal_logits_agree_whatever_their_level() -> None:
    divergence, equal, difference = compare_logits([[1.0, 2.0, 3.0]], [[11.0, 12.0, 13.0]], [0])
    assert divergence == [pytest.approx(0)]
    assert equal == [True]
    assert difference == [pytest.approx(0)]


def test_each_token_has_its_own_divergence_from_the_reference_to_what_serves() -> None:
    """p = (1/2, 1/2) against q = (3/4, 1/4): ½ ln(½ / ¾) + ½ ln(½ / ¼) = ½ ln(4/3); from q to p it is another."""
    divergence, _, _ = compare_logits([EVEN, EVEN, THREE_TO_ONE], [THREE_TO_ONE, EVEN, EVEN], [0, 0, 0])
    assert divergence[0] == pytest.approx(math.log(4 / 3) / 2)
    assert divergence[1] == pytest.approx(0)
    assert divergence[2] == pytest.approx(3 / 4 * math.log(3 / 2) + 1 / 4 * math.log(1 / 2))


def test_the_likeliest_tokens_are_compared_one_by_one() -> None:
    reference = [[2.0, 1.0], [2.0, 1.0], [0.0, 1.0]]
    assert compare_logits(reference, [[9.0, 1.0], [1.0, 2.0], [0.0, 0.5]], [0, 0, 1])[1] == [True, False, True]


def test_the_difference_is_that_of_the_reply_s_own_tokens() -> None:
    """ln ½ against ln ¾ for the first token, ln ½ against ln ¼ for the second."""
    difference = compare_logits([EVEN, EVEN], [THREE_TO_ONE, THREE_TO_ONE], [0, 1])[2]
    assert difference == [pytest.approx(math.log(3 / 2)), pytest.approx(math.log(2))]
