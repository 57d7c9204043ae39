"""Who said something: known by a keyed hash alone, kept apart from others, and nobody where nobody is named."""

import pytest
from sqlmodel import select

from feedback.collect import intake
from feedback.contributors import contributor_id
from feedback.erasure.subjects import Named, resolve
from feedback.errors import InvalidInput
from feedback.models import Feedback
from feedback.states import FeedbackKind
from feedback.testing import SECRET, House


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
