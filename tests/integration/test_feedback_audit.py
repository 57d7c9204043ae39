"""The audit log tells what was done, and whether it is what was written."""

from typing import Any

import pytest
from sqlalchemy import text

from feedback import audit
from feedback.models import AuditEntry
from feedback.testing import House


def done(house: House, *subjects: str) -> None:
    for subject in subjects:
        with house.database.write() as session:
            audit.record(session, "ada", "test.deed", subject, reason="why", numbers=[1, 2.5], nested={"a": None})


def flaws(house: House) -> list[str]:
    with house.database.read() as session:
        return [flaw.what for flaw in audit.verify(session, house.settings.read_secret())[1]]


def change(house: House, statement: str) -> None:
    with house.database.write() as session:
        session.connection().execute(text(statement))


def test_a_log_that_nobody_touched_is_whole(house: House) -> None:
    done(house, "a", "b")
    with house.database.write() as session:  # two deeds in one transaction
        audit.record(session, "ada", "test.deed", "c")
        audit.record(session, "ada", "test.deed", "d")
    assert flaws(house) == []
    with house.database.read() as session:
        entries = audit.list_entries(session, action="test.", limit=10)
    assert [entry.subject for entry in entries] == ["d", "c", "b", "a"]
    assert entries[0].previous == entries[1].signature


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE audit_entry SET actor = 'eve' WHERE subject = 'b'", ["isn't what was signed"]),
        ("DELETE FROM audit_entry WHERE subject = 'b'", ["follows an entry that is gone"]),
        ("UPDATE audit_entry SET signature = NULL WHERE subject = 'b'", ["isn't signed", "follows an entry"]),
    ],
)
def test_what_was_changed_or_taken_out_is_found(house: House, statement: str, found: list[str]) -> None:
    done(house, "a", "b", "c")
    change(house, statement)
    told = flaws(house)
    assert len(told) == len(found)
    for one, what in zip(told, found, strict=True):
        assert what in one


def test_what_was_made_up_is_found(house: House) -> None:
    done(house, "a")
    with house.database.write() as session:
        session.add(AuditEntry(actor="eve", action="test.deed", subject="b", details={}, signature="0" * 64))
    assert flaws(house) == ["isn't what was signed, or was signed with another secret"]


def test_a_deed_that_was_rolled_back_leaves_no_gap(house: House) -> None:
    done(house, "a")

    def fails() -> Any:
        with house.database.write() as session:
            audit.record(session, "ada", "test.deed", "b")
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    done(house, "c")
    assert flaws(house) == []


def test_the_newest_alone_are_checked_against_those_before(house: House) -> None:
    done(house, "a", "b", "c", "d")
    change(house, "UPDATE audit_entry SET actor = 'eve' WHERE subject = 'b'")
    with house.database.read() as session:
        key = house.settings.read_secret()
        assert audit.verify(session, key, newest=2) == (2, [])
        assert [len(audit.verify(session, key, newest=number)[1]) for number in (3, 1_000)] == [1, 1]
    change(house, "DELETE FROM audit_entry WHERE subject = 'c'")
    with house.database.read() as session:
        (flaw,) = audit.verify(session, key, newest=1)[1]
    assert "is gone" in flaw.what
