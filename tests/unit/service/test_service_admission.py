"""Who may come in, and what those who may not are told."""

from collections import Counter
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.errors import InvalidInput, QueueFull
from service.admission import Admission


class Clock:
    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Door:
    """An admission whose contexts are opened and closed in any order."""

    def __init__(self, places: int) -> None:
        self.clock = Clock()
        self.admission = Admission(places, clock=self.clock)
        self._inside: dict[str, list[ExitStack]] = {}

    def enter(self, key: str, replies: int = 1) -> None:
        stack = ExitStack()
        stack.enter_context(self.admission.places(key, replies))
        self._inside.setdefault(key, []).append(stack)

    def leave(self, key: str) -> None:
        self._inside[key].pop().close()

    def fill(self, key: str) -> int:
        """Let a key take all it can get; returns how many places it got."""
        before = len(self.admission)
        while True:
            try:
                self.enter(key)
            except QueueFull:
                return len(self.admission) - before

    def refusal(self, key: str, replies: int = 1) -> QueueFull:
        with pytest.raises(QueueFull) as refused:
            self.enter(key, replies)
        return refused.value


@pytest.mark.parametrize(("places", "alone"), [(4, 3), (80, 60), (320, 240)])
def test_a_key_alone_takes_three_quarters_and_the_next_one_still_comes_in(places: int, alone: int) -> None:
    door = Door(places)
    assert door.fill("greedy") == alone
    assert door.refusal("greedy").code == "rate_limit_exceeded"
    door.enter("modest")


@pytest.mark.parametrize("places", [1, 2])
def test_where_there_is_hardly_any_room_a_key_may_take_it_all(places: int) -> None:
    door = Door(places)
    assert door.fill("greedy") == places
    assert door.refusal("modest").code == "queue_full"


def test_a_place_given_back_can_be_taken_again_and_a_key_that_left_is_forgotten() -> None:
    door = Door(4)
    assert [door.fill("a"), door.fill("b"), door.fill("c")] == [3, 1, 0]
    door.leave("a")
    assert [door.fill("c"), len(door.admission)] == [1, 4]
    for key in "aabc":
        door.leave(key)
    assert len(door.admission) == 0
    assert door.fill("c") == 3


def test_several_choices_come_in_together_or_not_at_all() -> None:
    door = Door(8)
    door.enter("a", replies=4)
    assert door.refusal("a", replies=3).code == "rate_limit_exceeded"
    door.enter("a", replies=2)
    assert door.refusal("b", replies=3).code == "queue_full"
    assert len(door.admission) == 6
    door.leave("a")
    door.leave("a")
    assert len(door.admission) == 0


@pytest.mark.parametrize(("places", "most"), [(1, 1), (2, 2), (4, 3), (8, 6)])
def test_more_choices_than_ever_come_in_are_no_matter_of_waiting(places: int, most: int) -> None:
    door = Door(places)
    with pytest.raises(InvalidInput, match=f"more than {most} ") as refused:
        door.enter("a", replies=most + 1)
    assert refused.value.param == "n"
    door.enter("a", replies=most)


@given(st.integers(1, 40), st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=300))
def test_only_want_of_room_or_a_used_up_share_keeps_a_key_out(places: int, deeds: list[tuple[str, bool]]) -> None:
    door = Door(places)
    held = Counter[str]()
    for key, comes in deeds:
        free = places - held.total()
        if not comes and held[key]:
            door.leave(key)
            held[key] -= 1
        elif comes and held[key] < 3 * free:
            door.enter(key)
            held[key] += 1
        elif comes:
            assert door.refusal(key).code == ("rate_limit_exceeded" if free else "queue_full")
        assert len(door.admission) == held.total() <= places


def test_a_key_that_took_nearly_all_gives_way_as_its_replies_end() -> None:
    door = Door(80)
    assert door.fill("first") == 60
    second = door.fill("second")
    for _ in range(40):
        door.leave("first")
        second += door.fill("second")
        door.fill("first")
    assert abs(second - (len(door.admission) - second)) <= 3
    door.enter("newcomer")


def test_the_refused_are_told_when_half_will_have_left_at_the_present_pace() -> None:
    door = Door(80)

    def told() -> int:
        refused = door.refusal("greedy")
        assert f"{refused.retry_after_seconds} seconds" in refused.message
        return refused.retry_after_seconds

    def turn_over(replies: int, seconds_each: float) -> None:
        for _ in range(replies):
            door.clock.seconds += seconds_each
            door.leave("greedy")
            door.enter("greedy")

    assert door.fill("greedy") == 60
    assert told() == 5  # nobody has left yet
    turn_over(10, 0.5)
    assert told() == 15
    door.clock.seconds += 1000
    assert told() == 60
    turn_over(40, 0.001)
    assert told() == 1
    for _ in range(60):
        door.leave("greedy")
    door.clock.seconds += 10_000  # an idle night says nothing about the pace
    assert door.fill("greedy") == 60
    assert told() == 5
