"""Who said something: known by a keyed hash alone, kept apart from others, and nobody where nobody is named."""

from sqlmodel import select

from feedback.collect import intake
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
