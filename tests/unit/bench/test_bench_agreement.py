"""The measure of how far two sets of logits agree."""

import math

import pytest
from bench.agreement import compare_logits


def test_equal_logits_diverge_by_nothing_whatever_their_level() -> None:
    assert compare_logits([[1.0, 2.0, 3.0]], [[11.0, 12.0, 13.0]]) == (pytest.approx(0), 1.0)


def test_divergence_is_a_mean_over_tokens_and_runs_from_the_reference_to_what_serves() -> None:
    """p = (1/2, 1/2) against q = (3/4, 1/4): ½ ln(½ / ¾) + ½ ln(½ / ¼) = ½ ln(4/3). The other token agrees."""
    half, three_to_one = [0.0, 0.0], [math.log(3), 0.0]
    divergence, _ = compare_logits([half, [5.0, 0.0]], [three_to_one, [5.0, 0.0]])
    assert divergence == pytest.approx(math.log(4 / 3) / 2 / 2)
    assert compare_logits([three_to_one], [half])[0] != pytest.approx(math.log(4 / 3) / 2)


def test_the_likeliest_tokens_are_compared_one_by_one() -> None:
    reference = [[2.0, 1.0], [2.0, 1.0], [0.0, 1.0], [2.0, 1.0]]
    served = [[9.0, 1.0], [1.0, 2.0], [0.0, 0.5], [2.0, 1.0]]
    assert compare_logits(reference, served)[1] == 0.75
