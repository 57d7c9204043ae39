"""Records go out and come in again: the same after a round trip, nothing twice, and nothing changed under its id."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from imported_records import counts, exported, sample, stored_feedback, take_in
from sqlmodel import select

import migrations
from feedback import review
from feedback.collect import intake
from feedback.interchange import ours
from feedback.interchange.records import Read, Record
from feedback.models import Contributor
from feedback.states import FeedbackKind, ReviewDecision
from feedback.testing import House, open_house


def imported(path: Path, lines: list[str]) -> Iterator[Read]:
    path.write_text("".join(lines), "utf-8", newline="")
    return ours.read(path)


def say_everything(house: House) -> None:
    both = house.reply("Which colour?", ["Red.", "Blue."], user="ada")
    house.say(both, "preference", {"rejected": {"choice": 1}}, tags=("tone",))
    house.say(both, "preference", {"tie": "good", "other": {"choice": 1}}, user="eve")
    house.say(both, "rating", {"stars": 4}, user="bob", comment="Fine.")
    house.say(both, "rating", -1, user="cy", training=False)
    house.say(both, "comment", "Nice.", anonymous=True)
    house.say(both, "comment", comment=" Nice \u2028 and short. ", anonymous=True)
    long = house.reply(
        [{"role": "system", "content": "Rhyme."}, {"role": "user", "content": "Hello"}], "Yellow.", store=True
    )
    house.say(long, "correction", {"content": "Mellow.", "key_facts": ["mellow"]}, anonymous=True, training=True)
    house.say(house.reply("Again?", "No.", store=False), "correction", "x" * intake.MAX_TEXT)
    sale = {"content": "Until Sunday.", "key_facts": ["Sunday"], "expires_at": "2025-02-03T00:00:00+01:00"}
    house.say(house.reply("Sale?", "No."), "correction", sale)
    house.say(both, "report", "abuse")
    house.say(both, "rating", 1, user="bob")  # takes the stars back


def test_what_goes_out_comes_in_as_it_was(house: House, tmp_path: Path) -> None:
    say_everything(house)
    first = exported(house)
    assert len(first) == 9
    assert "ada" not in re.findall(r"\w+", "".join(first))
    (tmp_path / "fresh").mkdir()
    with open_house(tmp_path / "fresh") as fresh:
        assert counts(take_in(fresh, imported(tmp_path / "out.jsonl", first))) == (9, 0, 0, 0)
        assert exported(fresh) == first
        assert counts(take_in(fresh, imported(tmp_path / "out.jsonl", first))) == (0, 9, 0, 0)
        (tie,) = [said for said in stored_feedback(fresh) if "tie" in said.value]
        assert tie.score == 1.0  # so that it counts as a tie here too


def test_our_own_export_adds_nothing_where_it_came_from(house: House, tmp_path: Path) -> None:
    say_everything(house)
    take_in(house, sample())
    first = exported(house)
    assert counts(take_in(house, imported(tmp_path / "out.jsonl", first), training=True)) == (0, len(first), 0, 0)
    assert exported(house) == first


def test_a_line_that_was_changed_under_its_id_is_refused(embedded: House, tmp_path: Path) -> None:
    embedded.correct("Which colour?", "Red.", "Blue.", user="ada")
    (line,) = exported(embedded)
    path = tmp_path / "out.jsonl"
    done = take_in(embedded, imported(path, [line, line.replace("Blue.", "Green.")]))
    assert (done.known, [bad.line for bad in done.bad]) == (1, [2])
    assert "something else" in done.bad[0].reason
    (tmp_path / "fresh").mkdir()
    with open_house(tmp_path / "fresh") as fresh:
        done = take_in(fresh, imported(path, [line, line, line.replace("Blue.", "Green.")]))
        assert counts(done) == (1, 1, 0, 1)


def test_another_assistant_gets_ids_and_people_of_its_own(embedded: House, tmp_path: Path) -> None:
    embedded.correct("Which colour?", "Red.", "Blue.", user="ada")
    path = tmp_path / "out.jsonl"
    school = House(embedded.settings, embedded.database, "school")
    for expected in ((1, 0, 0, 0), (0, 1, 0, 0)):
        assert counts(take_in(school, imported(path, exported(embedded)))) == expected
    native, copied = stored_feedback(embedded)
    assert native.public_id != copied.public_id
    assert native.contributor_id != copied.contributor_id
    with embedded.database.read() as session:
        people = {person.id: person.assistant_id for person in session.exec(select(Contributor))}
    assert people == {native.contributor_id: native.assistant_id, copied.contributor_id: copied.assistant_id}


def test_what_a_reviewer_turned_down_or_a_giver_took_back_stays_here(embedded: House) -> None:
    kept, out = (embedded.correct(f"Question {number}?", "No.", "Yes.", user=f"u{number}") for number in range(2))
    with embedded.database.write() as session:
        for given, decision in (
            (kept, ReviewDecision.REJECTED),
            (kept, ReviewDecision.APPROVED),
            (out, ReviewDecision.REJECTED),
        ):
            review.decide(session, review.get_feedback(session, given.id), decision, note=None, actor="test")
    assert [kept.id in line for line in exported(embedded)] == [True]


@pytest.fixture(scope="module")
def two_deployments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, House]]:
    with open_house(tmp_path_factory.mktemp("one")) as one, open_house(tmp_path_factory.mktemp("other")) as other:
        yield one, other


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
SOME_TEXT = TEXT.filter(str.strip)


@st.composite
def records(draw: st.DrawFn) -> Record:
    kind, value = draw(
        st.one_of(
            st.tuples(st.just(FeedbackKind.CORRECTION), SOME_TEXT),
            st.tuples(
                st.just(FeedbackKind.CORRECTION),
                st.builds(lambda text, day: {"content": text, "expires_at": str(day)}, SOME_TEXT, st.dates()),
            ),
            st.tuples(st.just(FeedbackKind.RATING), st.sampled_from([1, -1, {"stars": 3}])),
            st.tuples(st.just(FeedbackKind.COMMENT), SOME_TEXT),
            st.tuples(st.just(FeedbackKind.PREFERENCE), st.builds(lambda text: {"rejected": text}, TEXT)),
            st.tuples(st.just(FeedbackKind.PREFERENCE), st.builds(lambda text: {"tie": "bad", "other": text}, TEXT)),
        )
    )
    return Record(
        line=1,
        messages=tuple(draw(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), TEXT), min_size=1, max_size=4))),
        reply=draw(TEXT),
        kind=kind,
        value=value,
        contributor=draw(st.none() | st.sampled_from("abc")),
        comment=draw(st.none() | TEXT),
        tags=tuple(draw(st.lists(SOME_TEXT, max_size=2))),
        created_at=draw(st.none() | st.datetimes(datetime(1970, 1, 1), datetime(2025, 1, 1), timezones=st.just(UTC))),
        store=draw(st.none() | st.booleans()),
        training=draw(st.none() | st.booleans()),
        cut_off=draw(st.booleans()),
    )


@given(said=st.lists(records(), max_size=8))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_was_said_is_the_same_in_a_fresh_deployment(
    two_deployments: tuple[House, House], tmp_path_factory: pytest.TempPathFactory, said: list[Record]
) -> None:
    path = tmp_path_factory.mktemp("out") / "out.jsonl"
    here, there = (House(house.settings, house.database, path.parent.name) for house in two_deployments)
    first = take_in(here, said)
    assert first.taken + first.known == len(said)
    lines = exported(here)
    assert counts(take_in(there, imported(path, lines))) == (first.taken, 0, 0, 0)
    assert exported(there) == lines
    assert counts(take_in(here, imported(path, lines))) == (0, first.taken, 0, 0)


def test_feedback_outlives_the_schemas_change_and_its_way_back(house: House) -> None:
    house.correct("Which colour?", "Red.", "Blue.", user="ada")
    before = exported(house)
    migrations.downgrade(house.database, "0001")
    migrations.upgrade(house.database)
    assert exported(house) == before
