"""What counts as in the window, and what its figures say."""

import pytest
from bench.client import Answer
from bench.load import Window


def answer(asked: float, arrivals: list[float], tokens: int) -> Answer:
    return Answer(asked, arrivals, ended=arrivals[-1], prompt_tokens=40, completion_tokens=tokens)


def test_a_steady_window_counts_what_arrived_in_it() -> None:
    """Ten seconds: two whole answers of four tokens, and half of one that went on after them."""
    whole = [answer(0, [1, 2, 3, 4], 4), answer(4, [5, 6, 7, 8], 4)]
    cut = answer(8, [9, 10, 11, 12], 4)
    window = Window(0, 10, [*whole, cut])
    assert window.tokens() == 10
    assert window.tokens_per_second() == 1.0
    assert window.requests_per_second() == pytest.approx(0.2)
    assert window.prompt_tokens() == 40


def test_pieces_of_several_tokens_share_the_answers_tokens() -> None:
    """Eight tokens came in four pieces, three of them in the window: six count."""
    window = Window(0, 3, [answer(0, [1, 2, 3, 4], 8)])
    assert window.tokens() == 6
    assert window.tokens_per_second() == 2.0


def test_delays_are_of_requests_made_and_tokens_come_in_the_window() -> None:
    early = answer(-1, [0.5, 1.0], 2)  # asked before it began: its wait is another load's
    late = answer(9.5, [10.5, 30.5], 2)  # asked in it: its wait counts, its last gap doesn't
    window = Window(0, 10, [early, answer(0, [0.1, 0.2, 0.4], 3), late])
    assert window.ttft_ms(0) == pytest.approx(100)
    assert window.ttft_ms(100) == pytest.approx(1000)
    assert window.inter_token_ms(0) == pytest.approx(100)
    assert window.inter_token_ms(100) == pytest.approx(500)
    assert window.latency_ms(0) == pytest.approx(400)


def test_an_answer_without_text_has_no_first_token() -> None:
    silent = Answer(1, [], ended=2, completion_tokens=1)
    window = Window(0, 10, [silent, answer(1, [3, 4], 2)])
    assert window.tokens() == 2
    assert window.ttft_ms(50) == pytest.approx(2000)
    assert window.latency_ms(0) == pytest.approx(1000)
