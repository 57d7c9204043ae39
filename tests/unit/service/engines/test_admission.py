"""Who may come in, and what those who may not are told."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.errors import QueueFull
from service.engines.local.admission import Admission


class Clock:
    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def fill(admission: Admission, key: str) -> int:
    """Let a key take all it can get; returns how many places it got."""
    for taken in range(10_000):
        try:
            admission.enter(key)
        except QueueFull:
            return taken
    raise AssertionError("no limit")


@pytest.mark.parametrize(("places", "alone"), [(1, 1), (2, 2), (4, 3), (80, 60), (320, 240)])
def test_a_key_alone_takes_three_quarters_and_the_next_one_still_comes_in(places: int, alone: int) -> None:
    admission = Admission(places)
    assert fill(admission, "greedy") == alone
    if alone < places:
        with pytest.raises(QueueFull) as refused:
            admission.enter("greedy")
        assert refused.value.code == "rate_limit_exceeded"
        admission.enter("modest")
        admission.leave("modest")
        admission.enter("modest")
    else:
        with pytest.raises(QueueFull) as refused:
            admission.enter("modest")
        assert refused.value.code == "queue_full"


def test_a_place_given_back_can_be_taken_again_and_a_key_that_left_is_forgotten() -> None:
    admission = Admission(4)
    assert [fill(admission, "a"), fill(admission, "b"), fill(admission, "c")] == [3, 1, 0]
    admission.leave("a")
    assert [fill(admission, "c"), len(admission)] == [1, 4]
    for key in "aabc":
        admission.leave(key)
    assert len(admission) == 0
    assert fill(admission, "c") == 3


@given(st.integers(1, 40), st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=300))
def test_only_want_of_room_or_a_used_up_share_keeps_a_key_out(places: int, deeds: list[tuple[str, bool]]) -> None:
    admission = Admission(places)
    held = Counter[str]()
    for key, comes in deeds:
        free = places - held.total()
        if comes:
            if held[key] < 3 * free:
                admission.enter(key)
                held[key] += 1
            else:
                with pytest.raises(QueueFull) as refused:
                    admission.enter(key)
                assert refused.value.code == ("rate_limit_exceeded" if free else "queue_full")
        elif held[key]:
            admission.leave(key)
            held[key] -= 1
        assert len(admission) == held.total() <= places


def test_a_key_that_took_nearly_all_gives_way_as_its_requests_end() -> None:
    admission = Admission(80)
    assert fill(admission, "first") == 60
    second = fill(admission, "second")
    for _ in range(40):
        admission.leave("first")
        second += fill(admission, "second")
        assert fill(admission, "first") in (0, 1)
    assert abs(second - (len(admission) - second)) <= 3
    admission.enter("newcomer")


def test_the_refused_are_told_when_half_will_have_left_at_the_present_pace() -> None:
    clock = Clock()
    admission = Admission(80, clock=clock)

    def told(key: str = "greedy") -> int:
        with pytest.raises(QueueFull) as refused:
            admission.enter(key)
        assert f"{refused.value.retry_after_seconds} seconds" in refused.value.message
        return refused.value.retry_after_seconds

    assert fill(admission, "greedy") == 60
    assert told() == 5  # nobody has left yet
    for _ in range(10):  # one in half a second
        clock.seconds += 0.5
        admission.leave("greedy")
        admission.enter("greedy")
    assert told() == 15
    clock.seconds += 1000  # then nobody for long
    assert told() == 60
    for _ in range(40):
        clock.seconds += 0.001
        admission.leave("greedy")
        admission.enter("greedy")
    assert told() == 1
    for _ in range(60):
        admission.leave("greedy")
    clock.seconds += 10_000  # an idle night says nothing about the pace
    assert fill(admission, "greedy") == 60
    assert told() == 5
