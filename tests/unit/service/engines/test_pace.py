"""How much is read beside replies follows what steps took."""

from service.engines.local.pace import FEWEST_TOKENS, FIRST_TOKENS, LONGEST_SECONDS, STRETCH, Pace


def experienced(write_seconds: float, read_seconds: float) -> Pace:
    pace = Pace()
    for _ in range(20):
        pace.took(write_seconds, 4, 0)
        pace.took(write_seconds + 100 * read_seconds, 4, 100)
    return pace


def test_reads_carefully_until_something_is_known() -> None:
    pace = Pace()
    assert pace.reading_tokens(0) == FIRST_TOKENS
    assert pace.reading_tokens(7) == 0  # the next step shows what writing alone takes
    pace.took(0.02, 7, 0)
    assert pace.reading_tokens(7) == FIRST_TOKENS


def test_a_step_grows_by_the_stretch_at_most() -> None:
    pace = experienced(write_seconds=0.02, read_seconds=0.0005)
    assert abs(pace.reading_tokens(4) - STRETCH * 0.02 / 0.0005) <= 1
    assert abs(pace.reading_tokens(0) - LONGEST_SECONDS / 0.0005) <= 1


def test_a_slow_model_still_reads() -> None:
    pace = experienced(write_seconds=0.1, read_seconds=0.1)
    assert pace.reading_tokens(4) == pace.reading_tokens(0) == FEWEST_TOKENS


def test_the_nearest_number_of_replies_counts() -> None:
    pace = Pace()
    pace.took(0.02, 2, 0)
    pace.took(0.1, 30, 0)
    pace.took(0.02 + 0.05, 2, 100)
    assert pace.reading_tokens(31) > pace.reading_tokens(3)
