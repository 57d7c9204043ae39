"""Whose turn it is: nobody starves, whatever comes and goes."""

from collections import Counter
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from service.engines.local.waiting import Waiting, in_turn

Named = tuple[str, int]
"""A row: its key and its number."""


def filled(rows: Iterable[Named]) -> Waiting[Named]:
    waiting: Waiting[Named] = Waiting()
    for row in rows:
        waiting.add(row, row[0])
    return waiting


def served(waiting: Waiting[Named], slots: int) -> list[Named]:
    """The order in which rows get one of `slots` slots, of which the longest running one is the first to come free."""
    order: list[Named] = []
    running: list[Named] = []
    while (row := waiting.next(Counter(key for key, _ in running))) is not None:
        order.append(row)
        running.append(row)
        if len(running) == slots:
            running.pop(0)
    return order


def test_one_request_behind_two_hundred_of_another_key_gets_the_next_slot() -> None:
    waiting = filled(("greedy", number) for number in range(200))
    running = Counter[str]()
    for _ in range(16):
        row = waiting.next(running)
        assert row is not None
        running[row[0]] += 1
    waiting.add(("modest", 0), "modest")
    running["greedy"] -= 1
    assert waiting.next(running) == ("modest", 0)


def test_equal_keys_take_turns() -> None:
    rows = [(key, number) for key in "abc" for number in range(3)]
    assert served(filled(rows), slots=1) == [(key, number) for number in range(3) for key in "abc"]


def test_nothing_waits_in_an_empty_queue() -> None:
    waiting: Waiting[Named] = Waiting()
    assert (len(waiting), list(waiting), waiting.next({"a": 1})) == (0, [], None)
    waiting.add(("a", 1), "a")
    waiting.remove(lambda row: row == ("a", 1))
    assert (len(waiting), waiting.next({})) == (0, None)


def test_who_does_not_fit_yet_is_not_overtaken() -> None:
    waiting = filled([("a", 1), ("a", 2), ("b", 1)])
    assert waiting.next({}, lambda row: row != ("a", 1)) is None
    assert [waiting.next({}) for _ in range(3)] == [("a", 1), ("b", 1), ("a", 2)]


ROWS = st.lists(st.sampled_from("abcd"), max_size=60).map(lambda keys: list(zip(keys, range(len(keys)), strict=True)))


@given(ROWS, st.integers(1, 8))
def test_every_row_is_served_once_and_in_its_keys_order(rows: list[Named], slots: int) -> None:
    waiting = filled(rows)
    assert len(waiting) == len(rows)
    assert sorted(waiting) == sorted(rows)
    order = served(waiting, slots)
    assert sorted(order) == sorted(rows)
    for key in "abcd":
        assert [row for row in order if row[0] == key] == [row for row in rows if row[0] == key]


@given(ROWS, st.integers(1, 8))
def test_a_single_request_waits_for_one_turn_of_each_other_key_at_most(rows: list[Named], slots: int) -> None:
    order = served(filled([*rows, ("single", 0)]), slots)
    before = Counter(key for key, _ in order[: order.index(("single", 0))])
    others = len({key for key, _ in rows})
    # while slots are free everybody gets one; then a key with a running row stands back behind the one with none
    assert sum(before.values()) <= max(slots, others)


@given(ROWS, st.integers(1, 4))
def test_a_waiting_key_is_never_two_rows_behind_another(rows: list[Named], slots: int) -> None:
    waiting = filled(rows)
    running = Counter[str]()
    while sum(running.values()) < slots and (row := waiting.next(running)) is not None:
        running[row[0]] += 1
    for key in {key for key, _ in waiting}:
        assert running[key] >= max(running.values()) - 1


@given(ROWS, st.sets(st.integers(0, 59)))
def test_removing_rows_leaves_the_others_in_their_order(rows: list[Named], gone: set[int]) -> None:
    waiting = filled(rows)
    waiting.remove(lambda row: row[1] in gone)
    kept = [row for row in rows if row[1] not in gone]
    assert len(waiting) == len(kept)
    order = served(waiting, slots=1)
    assert sorted(order) == sorted(kept)
    for key in "abcd":
        assert [row for row in order if row[0] == key] == [row for row in kept if row[0] == key]


@given(ROWS)
def test_in_turn_nobodys_second_comes_before_anybodys_first(rows: list[Named]) -> None:
    order = in_turn(rows, lambda row: row[0])
    assert sorted(order) == sorted(rows)
    turns = [sum(other[0] == row[0] for other in order[:place]) for place, row in enumerate(order)]
    assert turns == sorted(turns)
    for turn in set(turns):  # within a turn, and so within a key, in the order they came
        places = [rows.index(row) for row, number in zip(order, turns, strict=True) if number == turn]
        assert places == sorted(places)
