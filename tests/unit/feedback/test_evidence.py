"""Evidence that may be looked at after every word: worked by hand, and never crying wolf more often than promised."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.evidence import ACT_AT, Evidence, e_value, log_e_value

SHARES = (0.1, 0.5, 0.8)


def by_quadrature(wins: int, losses: int, share: float, steps: int = 20_000) -> float:
    """The likelihood ratio of a uniform mixture above `share` against `share`, summed up plainly."""
    width = (1 - share) / steps
    points = (share + (place + 0.5) * width for place in range(steps))
    mixed = math.fsum(p**wins * (1 - p) ** losses for p in points) * width / (1 - share)
    return mixed / (share**wins * (1 - share) ** losses)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (0, 1), (7, 3), (3, 7), (40, 25)])
def test_it_is_the_mixture_s_likelihood_ratio(wins: int, losses: int, share: float) -> None:
    assert e_value(wins, losses, share) == pytest.approx(by_quadrature(wins, losses, share), rel=1e-4)


@given(st.integers(0, 60), st.integers(0, 60), st.floats(0.05, 0.95))
def test_it_is_a_fair_bet_at_the_share(wins: int, losses: int, share: float) -> None:
    """Whatever was said so far, the next vote's expected factor is 1 if a win's chance is the share: a martingale."""
    ahead = share * e_value(wins + 1, losses, share) + (1 - share) * e_value(wins, losses + 1, share)
    assert ahead == pytest.approx(e_value(wins, losses, share), rel=1e-6)


@given(st.integers(0, 500), st.integers(0, 500), st.sampled_from(SHARES))
def test_more_wins_never_speak_against(wins: int, losses: int, share: float) -> None:
    assert log_e_value(wins + 1, losses, share) > log_e_value(wins, losses, share)


@given(st.integers(0, 200), st.integers(0, 200))
def test_what_is_better_for_one_is_worse_for_the_other(wins: int, losses: int) -> None:
    assert Evidence(wins, losses).better == pytest.approx(Evidence(losses, wins).worse)


def test_an_equal_version_is_seldom_accused_however_often_one_looks() -> None:
    """400 fair coins, 300 looks each: at most 1/20, and two standard errors of 400 draws, pass 20."""
    accused = 0
    for world in range(400):
        chance = random.Random(world)
        wins = 0
        for count in range(1, 301):
            wins += chance.random() < 0.5
            if Evidence(wins, count - wins).worse >= ACT_AT:
                accused += 1
                break
    assert accused / 400 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)


def test_a_share_that_leaves_nothing_open_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        e_value(1, 1, 1.0)
