"""Who said something: known by a keyed hash alone, kept apart from others, and nobody where nobody is named."""

from pathlib import Path

import pytest
from remains import tables_with
from sqlmodel import select

from feedback.collect import form, intake
from feedback.contributors import contributor_id
from feedback.erasure import erase as erasing
from feedback.erasure.subjects import Named, resolve
from feedback.errors import InvalidInput, NotFound
from feedback.models import Feedback
from feedback.states import FeedbackKind
from feedback.testing import SECRET, House, open_house


def test_nobody_without_the_secret_finds_out_who_gave_anonymous_feedback(embedded: House) -> None:
    completion = embedded.reply("Which colour?", "Red.")
    given = intake.Given(completion, FeedbackKind.RATING, value=-1, user="ada", anonymous=True)
    for secret in (SECRET, SECRET, b"another deployment's"):
        intake.receive(embedded.database, secret, embedded.caller, given)
    with embedded.database.read() as session:
        ours, again, theirs = session.exec(select(Feedback.request_sha256).order_by(Feedback.id)).all()
    assert ours == again != theirs


# ── an empty name ────────────────────────────────────────────────────────────────────────────────────────────


def test_an_empty_name_names_nobody(embedded: House) -> None:
    chatted, unnamed = embedded.reply("Which colour?", "Red.", user="ada"), embedded.reply("Which size?", "Tall.")
    ada, nobody = (
        contributor_id(SECRET, embedded.assistant.id, embedded.caller.api_key_id, user) for user in ("ada", None)
    )
    for completion in (chatted, unnamed):
        embedded.say(completion, "correction", "Blue.", user="")
    with embedded.database.read() as session:
        said = session.exec(select(Feedback).order_by(Feedback.id)).all()
    assert [(one.contributor_id, one.source) for one in said] == [(ada, None), (nobody, intake.OPERATOR)]


@pytest.mark.parametrize("key", [None, "test"])
def test_what_everybody_unnamed_said_isnt_erased_under_an_empty_name(embedded: House, key: str | None) -> None:
    for number in range(3):
        embedded.correct(f"Question {number}?", "No.", "Yes.")
    with embedded.database.read() as session, pytest.raises(InvalidInput, match="`user` is empty") as refused:
        resolve(session, SECRET, embedded.assistant, Named(user="", key=key))
    assert refused.value.param == "user"


# ── one conversation id, several people ──────────────────────────────────────────────────────────────────────


def erase(house: House, **named: str) -> None:
    with house.database.read() as session:
        subject = resolve(session, SECRET, house.assistant, Named(**named))
    erasing.erase(house.database, house.assistant, subject, actor="test")


def test_feedback_in_a_shared_conversation_is_the_one_who_speaks(embedded: House) -> None:
    people = ["ada", "bob", None]
    for user in people:
        completion = embedded.reply("Which colour?", "Red.", user=user, external_id="room")
        embedded.say(completion, "rating", 1)
    known = [contributor_id(SECRET, embedded.assistant.id, embedded.caller.api_key_id, user) for user in people]
    with embedded.database.read() as session:
        assert session.exec(select(Feedback.contributor_id).order_by(Feedback.id)).all() == known


def test_erasing_one_of_several_who_share_a_conversation_takes_what_they_said(house: House) -> None:
    for user, words in (("ada", "I am Zanzibar."), ("bob", "I am Wollongong."), (None, "I am nobody.")):
        house.reply(words, "Hello.", user=user, external_id="room")
    erase(house, user="bob")
    assert tables_with(house.database, "Wollongong") == []
    assert tables_with(house.database, "Zanzibar") == tables_with(house.database, "nobody") == ["message"]
    with pytest.raises(NotFound):
        erase(house, user="bob")


def test_erasing_a_conversation_by_its_id_takes_everybodys_of_that_id(house: House) -> None:
    for user in ("ada", "bob", None):
        house.reply("We are in Zanzibar.", "Hello.", user=user, external_id="room")
    house.reply("Elsewhere.", "Hello.", user="ada", external_id="another room")
    erase(house, conversation="room")
    assert tables_with(house.database, "Zanzibar") == []
    assert tables_with(house.database, "Elsewhere") == ["message"]


def test_a_survey_is_due_after_so_many_replies_to_one_person(tmp_path: Path) -> None:
    asked = {"survey": [{"id": "csat", "text": "How was it?", "kind": "csat"}], "survey_after_replies": 2}
    with open_house(tmp_path, collect=asked) as house:

        def is_due(user: str, words: str) -> bool:
            completion = house.reply(words, "Hello.", user=user, external_id="room")
            with house.database.read() as session:
                return form.draw(session, SECRET, house.caller, completion, 0).survey is not None

        turns = [("ada", "One."), ("bob", "Two."), ("ada", "Three."), ("bob", "Four.")]
        assert [is_due(*turn) for turn in turns] == [False, False, True, True]
