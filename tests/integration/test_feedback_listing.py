"""What was said, page by page: nothing twice, nothing left out, and never a look at everything."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from reviewers import ADA, REJECTED, corrections, decide, listed
from sqlalchemy import event
from sqlalchemy.engine import Engine

from feedback import traffic
from feedback.columns import now
from feedback.errors import InvalidInput
from feedback.review import claims, listing, queue
from feedback.review.listing import Found, Sought
from feedback.review.queue import Order, Show, Wanted
from feedback.states import FeedbackKind, FeedbackStatus
from feedback.testing import House


def newest(house: House, limit: int = 50, **sought: Any) -> Found:
    with house.database.read() as session:
        return listing.newest(session, house.assistant, Sought(**sought), limit=limit)


def ids(found: Found) -> list[str]:
    return [row.public_id for row in found.rows]


def everything(house: House, limit: int, **sought: Any) -> list[str]:
    """All pages, one after the other."""
    seen: list[str] = []
    found = newest(house, limit, **sought)
    while True:
        seen += ids(found)
        if found.after is None:
            return seen
        found = newest(house, limit, **{**sought, "after": found.after})


def say_all(house: House) -> dict[str, str]:
    one, other = (house.reply(f"Question {name}?", ["Yes.", "No."], user=name) for name in ("one", "other"))
    said = {
        "liked": house.say(one, "rating", 1, user="ada", tags=("warm",)),
        "comment": house.say(one, "comment", "Mind the rain.", user="bob"),
        "correction": house.say(other, "correction", "It is 100% sure.", user="ada"),
        "report": house.say(other, "report", "privacy", user="cyd"),
        "disliked": house.say(other, "rating", -1, user="bob"),
    }
    return {name: accepted.id for name, accepted in said.items()}


NARROWED: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["disliked", "report", "correction", "comment", "liked"]),
    ({"kind": FeedbackKind.RATING}, ["disliked", "liked"]),
    ({"status": FeedbackStatus.IN_REVIEW}, ["report"]),
    ({"kind": FeedbackKind.RATING, "status": FeedbackStatus.IN_REVIEW}, []),
    ({"tag": "warm"}, ["liked"]),
    ({"category": "privacy"}, ["report"]),
    ({"category": "abuse"}, []),
    ({"search": "RAIN"}, ["comment"]),
    ({"search": "question one"}, ["comment", "liked"]),
    ({"search": "0%"}, ["correction"]),
    ({"days": 1, "kind": FeedbackKind.REPORT}, ["report"]),
]


def test_each_field_narrows_it_on_both_databases(house: House) -> None:
    said = say_all(house)
    for sought, wanted in NARROWED:
        assert ids(newest(house, **sought)) == [said[name] for name in wanted], sought
        assert everything(house, 1, **sought) == [said[name] for name in wanted], sought


def test_a_contributor_is_found_by_its_id_and_with_a_kind(embedded: House) -> None:
    said = say_all(embedded)
    ada = newest(embedded, kind=FeedbackKind.CORRECTION).rows[0].contributor_id
    assert ids(newest(embedded, contributor=ada)) == [said["correction"], said["liked"]]
    assert ids(newest(embedded, contributor=ada, kind=FeedbackKind.RATING)) == [said["liked"]]
    other = House(embedded.settings, embedded.database, "garden")
    assert ids(newest(other, contributor=ada)) == []


def test_only_what_is_newer_or_older_than_something_is_asked_for(embedded: House) -> None:
    said = list(say_all(embedded).values())
    assert ids(newest(embedded, newer_than=said[2])) == [said[4], said[3]]
    assert ids(newest(embedded, after=said[2])) == [said[1], said[0]]
    stranger = House(embedded.settings, embedded.database, "garden")
    with pytest.raises(InvalidInput, match="garden"):
        newest(stranger, newer_than=said[2])


def test_what_no_index_knows_is_looked_for_among_the_newest_and_further_back_on_demand(
    embedded: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "LOOKED_AT", 2)
    said = say_all(embedded)
    found = newest(embedded, tag="warm")
    assert (ids(found), found.after) == ([], said["report"])
    assert found.looked_back_to is not None
    assert everything(embedded, 50, tag="warm") == [said["liked"]]


def test_days_are_those_since_it_was_said(embedded: House) -> None:
    said = say_all(embedded)
    with embedded.database.write() as session:
        queue.get_feedback(session, said["disliked"]).created_at = now() - timedelta(days=9)
    assert said["disliked"] not in ids(newest(embedded, days=7))
    assert said["disliked"] in ids(newest(embedded, days=30))


def test_a_queue_of_one_kind_or_by_value_is_the_whole_queue_in_order(house: House) -> None:
    say_all(house)
    decide(house, corrections(house, 3)[1], REJECTED)
    for show, length in ((Show.WAITING, 1), (Show.UNREVIEWED, 7)):
        by_kind = [one for kind in queue.VALUE_OF_KIND for one in listed(house, show=show, kind=kind)]
        assert listed(house, show=show, order=Order.VALUE) == by_kind
        assert listed(house, show=show) == sorted(by_kind, key=place_of(house))
        assert len(by_kind) == length
        for order in Order:
            first, *others = listed(house, show=show, order=order)
            assert listed(house, show=show, order=order, after=first) == others


def place_of(house: House) -> Any:
    with house.database.read() as session:
        places = {one.public_id: one.id for one in listing.newest(session, house.assistant, Sought(), limit=50).rows}
    return places.__getitem__


@contextmanager
def plans() -> Iterator[list[str]]:
    """How SQLite finds what is asked for meanwhile."""
    seen: list[str] = []

    def explain(connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "FROM feedback" in statement:
            seen.append(str(connection.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()))

    event.listen(Engine, "before_cursor_execute", explain)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", explain)


def test_a_page_is_found_by_an_index_and_read_by_its_rows(embedded: House) -> None:
    for index, sought in (
        ("assistant_id", {}),
        ("assistant_id", {"tag": "x"}),
        ("cell", {"kind": FeedbackKind.REPORT}),
        ("cell", {"status": FeedbackStatus.DECLINED}),
        ("contributor_id", {"contributor": "nobody"}),
    ):
        with plans() as seen:
            newest(embedded, **sought)
        assert all("SCAN feedback" not in plan for plan in seen), seen
        assert all(f"ix_feedback_{index}" in plan for plan in seen), seen


def test_the_next_entry_is_found_in_the_cells_and_what_one_holds_by_its_holder(embedded: House) -> None:
    for wanted in (Wanted(Show.UNREVIEWED, order=Order.VALUE), Wanted(kind=FeedbackKind.RATING)):
        with plans() as seen, embedded.database.write() as session:
            claims.claim_next(session, embedded.assistant, wanted, actor=ADA)
        assert "ix_feedback_claimed (assistant_id=? AND claimed_by=?)" in seen[0]
        assert "ix_feedback_cell (assistant_id=? AND kind=? AND status=?)" in seen[1]
        assert all("feedback USING INTEGER PRIMARY KEY" in plan for plan in seen), seen


def test_satisfaction_by_day_tells_each_day_by_itself(embedded: House, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = embedded.reply("How are you?", "Well.")
    for name, thumb in (("ada", 1), ("bob", 1), ("cyd", -1)):
        given = embedded.say(asked, "rating", thumb, user=name)
    with embedded.database.write() as session:
        queue.get_feedback(session, given.id).created_at = now() - timedelta(days=1)
    with embedded.database.read() as session:
        by_day = traffic.satisfaction_by_day(session, embedded.assistant, 3)
        assert [(one.ratings, one.share) for one in by_day.values()] == [(0, None), (1, 0.0), (2, 1.0)]
        monkeypatch.setattr(traffic, "NEWEST_OF_A_DAY", 1)
        assert [one.ratings for one in traffic.satisfaction_by_day(session, embedded.assistant, 3).values()] == [
            0,
            1,
            1,
        ]
