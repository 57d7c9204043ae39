"""Contributors whose words an operator holds back: out of datasets, of others' credit and of what is due; and back."""

from typing import Any

import pytest
from freezing import learn, person, told
from remains import tables_with
from sqlmodel import Session, select

from feedback import assistants, contributor_report, datasets, due, quarantine, review
from feedback.contributor_report import Show
from feedback.contributors import contributor_id
from feedback.database import Database
from feedback.erasure.erase import erase
from feedback.erasure.subjects import of_contributor
from feedback.errors import InvalidInput, NotFound
from feedback.interchange.stored import current_records
from feedback.models import AuditEntry
from feedback.states import Side
from feedback.testing import SECRET, House


def id_of(house: House, user: str) -> str:
    return contributor_id(SECRET, house.assistant.id, house.caller.api_key_id, user)


def hold_back(house: House, user: str, reason: str = "a troll") -> None:
    with house.database.write() as session:
        quarantine.quarantine(session, house.assistant, id_of(house, user), reason, actor="test")


def let_go(house: House, user: str) -> None:
    with house.database.write() as session:
        quarantine.release(session, house.assistant, id_of(house, user), actor="test")


def taught(house: House) -> set[str]:
    """The right replies of what a run started now would learn."""
    with house.database.read() as session:
        rows = datasets.preview(session, house.reload()).curated.rows
    return {str(row.item.correction) for row in rows}


def test_nothing_of_theirs_reaches_a_dataset_until_it_is_lifted(house: House) -> None:
    ada, mallory = (person(house, Side.TRAIN, number) for number in range(2))
    house.correct("Which colour?", "Red.", "Blue.", user=ada)
    lie = house.correct("Which size?", "Tall.", "Endless.", user=mallory)
    assert taught(house) == {"Blue.", "Endless."}
    hold_back(house, mallory)
    assert taught(house) == {"Blue."}
    assert [one.value["content"] for one in current_records(house.database, house.assistant)] == ["Blue."]
    learn(house)
    assert told(house, lie.receipt) == ("declined", "Not learned from: everything of this contributor is held back.")
    house.correct("Which taste?", "Sweet.", "Bitter.", user=mallory)
    assert taught(house) == {"Blue."}
    let_go(house, mallory)
    assert taught(house) == {"Blue.", "Endless.", "Bitter."}


def test_a_reviewer_s_approval_does_not_bring_it_back(embedded: House) -> None:
    mallory = person(embedded, Side.TRAIN)
    lie = embedded.correct("Which size?", "Tall.", "Endless.", user=mallory)
    with embedded.database.write() as session:
        review.decide(session, review.get_feedback(session, lie.id), "approved", actor="test")
    hold_back(embedded, mallory)
    assert taught(embedded) == set()


def test_they_vouch_for_nobody(embedded: House) -> None:
    with embedded.database.write() as session:
        assistants.set_policies(session, embedded.reload(), {"trust": {"min_voices": 2}}, actor="test")
    ada, mallory = (person(embedded, Side.TRAIN, number) for number in range(2))
    for user in (ada, mallory):
        embedded.correct("Which colour?", "Red.", "It is blue.", "blue", user=user)
    assert taught(embedded) == {"It is blue."}
    hold_back(embedded, mallory)
    assert taught(embedded) == set()


def test_their_words_make_no_run_due_and_anonymous_ones_do(house: House) -> None:
    def waiting() -> int:
        with house.database.read() as session:
            found = due.outlook(session, house.assistant)
        assert found is not None
        return found.new_feedback

    house.correct("Which colour?", "Red.", "Blue.", user="mallory")
    house.say(house.reply("Which size?", "Tall."), "correction", "Small.", anonymous=True)
    assert waiting() == 2
    hold_back(house, "mallory")
    assert waiting() == 1


def test_it_is_in_the_audit_log_whoever_it_was_about_and_erasure_leaves_no_trace_of_them(embedded: House) -> None:
    embedded.correct("Which colour?", "Red.", "Blue.", user="mallory")
    hold_back(embedded, "mallory")
    hold_back(embedded, "mallory")  # says nothing new
    hold_back(embedded, "mallory", "a bot")
    let_go(embedded, "mallory")
    let_go(embedded, "mallory")
    with embedded.database.read() as session:
        entries = session.exec(select(AuditEntry).where(AuditEntry.subject.startswith("contributor "))).all()
        subject = of_contributor(session, embedded.assistant, id_of(embedded, "mallory"))
    assert [(one.action, one.details.get("reason")) for one in entries] == [
        ("contributor.quarantine", "a troll"),
        ("contributor.quarantine", "a bot"),
        ("contributor.release", None),
    ]
    erase(embedded.database, embedded.assistant, subject, actor="test")
    assert tables_with(embedded.database, id_of(embedded, "mallory")) == []


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501, "\0"])
def test_a_reason_is_asked_for(embedded: House, reason: str) -> None:
    embedded.correct("Which colour?", "Red.", "Blue.", user="mallory")
    with pytest.raises(InvalidInput, match="Say why"):
        hold_back(embedded, "mallory", reason)


def test_another_assistant_s_contributor_is_not_found(embedded: House) -> None:
    embedded.correct("Which colour?", "Red.", "Blue.", user="mallory")
    other = House(embedded.settings, embedded.database, "garden")
    with other.database.write() as session, pytest.raises(NotFound):
        quarantine.quarantine(session, other.assistant, id_of(embedded, "mallory"), "a troll", actor="test")


def listed(database: Database, house: House, show: Show = Show.NEWEST, **more: Any) -> list[str]:
    with database.read() as session:
        return [one.id for one in contributor_report.list_contributors(session, house.assistant, show, **more)]


def test_contributors_are_listed_in_pages(house: House) -> None:
    users = [f"user-{number}" for number in range(5)]
    for number, user in enumerate(users):
        for times in range(number + 1):
            house.correct(f"Question {user} {times}?", "No.", "Yes.", user=user)
    newest = [id_of(house, user) for user in reversed(users)]
    first = listed(house.database, house, limit=3)
    assert first + listed(house.database, house, after=first[-1], limit=3) == newest
    assert listed(house.database, house, Show.BUSIEST, limit=2) == newest[:2]
    hold_back(house, "user-1")
    assert listed(house.database, house, Show.QUARANTINED) == [id_of(house, "user-1")]


def details(session: Session, house: House, user: str) -> contributor_report.ContributorDetails:
    return contributor_report.details(session, house.assistant, id_of(house, user))


def test_what_became_of_somebody_s_words_is_told(house: House) -> None:
    ada = person(house, Side.TRAIN)
    house.correct("Which colour?", "Red.", "Blue.", user=ada)
    house.say(house.reply("Which size?", "Tall.", user=ada), "correction", "Small.", training=False)
    learn(house)
    with house.database.read() as session:
        found = details(session, house, ada)
    assert (found.pieces, found.kinds, found.turned_down) == (2, {"correction": 2}, 0.5)
    assert [(one.status, one.reason) for one in found.outcomes] == [
        ("declined", "the feedback may not be used for training.")
    ]
    assert (found.datasets, found.versions, found.side) == (["v1"], ["support@1"], Side.TRAIN)
