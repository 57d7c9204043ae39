"""The schema's history on both databases: up, down, and no drift from the models."""

import json
from contextlib import nullcontext, suppress
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

import migrations
from feedback.collect.intake import Given, receive
from feedback.config import Settings
from feedback.database import Database
from feedback.errors import BurnishError
from feedback.keys import Caller
from feedback.models import Feedback, ReportCase, Review
from feedback.states import CaseOutcome, CaseStatus, FeedbackKind, ReviewDecision, Role
from feedback.testing import SECRET


@pytest.fixture
def template() -> str:
    """PostgreSQL's databases begin empty here."""
    return "template1"


def test_upgrade_downgrade_upgrade(settings: Settings) -> None:
    database = settings.open_database()
    migrations.upgrade(database)
    migrations.downgrade(database)
    current, head = migrations.schema_state(database)
    assert current is None
    migrations.upgrade(database)
    assert migrations.schema_state(database) == (head, head)


@pytest.mark.filterwarnings("ignore:.*expression-based index")  # on SQLite nobody can compare them: PostgreSQL does
def test_models_and_migrations_agree(database: Database) -> None:
    assert migrations.drift(database) == []


def test_an_unmigrated_database_is_refused_with_the_remedy(settings: Settings) -> None:
    with pytest.raises(BurnishError, match="burnish up"):
        settings.open_database().check()


def test_a_schema_from_a_newer_version_is_refused_and_left_alone(database: Database) -> None:
    with database.write() as session:
        session.connection().exec_driver_sql("UPDATE alembic_version SET version_num = 'from-later'")
    with pytest.raises(BurnishError, match="a newer Burnish made it"):
        migrations.upgrade(database)
    assert migrations.schema_state(database)[0] == "from-later"


def put(session: Session, table: str, **values: Any) -> None:
    """A row as an older version would have written it."""
    names = ", ".join(values)
    session.connection().execute(
        text(f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{name}' for name in values)})"), values
    )


def test_plain_hashes_of_requests_go_and_a_repeated_request_is_still_one(settings: Settings) -> None:
    database = settings.open_database()
    migrations.upgrade(database, "0006")
    at = {"created_at": "2025-01-01 00:00:00+00:00"}
    with database.write() as session:
        put(session, "assistant", id=1, name="support", base_model="tiny", consent="opt_out", policies="{}", **at)
        put(session, "api_key", id=7, name="app", role="chat", hash="h", prefix="p", **at)
        put(session, "conversation", id=1, assistant_id=1, api_key_id=7, **at)
        counts = {"choice_index": 0, "prompt_tokens": 1, "completion_tokens": 1, "sampling": "{}", "status": "complete"}
        reply = {"conversation_id": 1, "role": "assistant", "content": "Red.", "history_sha256": "x", **counts, **at}
        put(session, "message", id=1, completion_id="chatcmpl-1", **reply)
        said = {"assistant_id": 1, "message_id": 1, "api_key_id": 7, "kind": "rating", "value": '{"thumb": 1}', **at}
        said |= {"tags": "[]", "status": "received", "salt": "s"}
        for number, imported_at in ((1, None), (2, at["created_at"])):
            names = {"public_id": f"fb-{number}", "receipt_sha256": f"r{number}", "idempotency_key": f"k{number}"}
            put(session, "feedback", request_sha256=f"plain {number}", imported_at=imported_at, **names, **said)
    migrations.upgrade(database)
    with database.read() as session:
        assert session.exec(select(Feedback.request_sha256).order_by(Feedback.public_id)).all() == ["", "plain 2"]
    app, given = Caller(7, "app", Role.CHAT, None), Given("chatcmpl-1", FeedbackKind.RATING, value=1, user="ada")
    assert receive(database, SECRET, app, given, idempotency_key="k1").id == "fb-1"


@pytest.mark.filterwarnings("ignore:.*expression-based index")
def test_a_conversation_id_counts_for_each_person_apart_and_what_was_said_stays(settings: Settings) -> None:
    database = settings.open_database()
    migrations.upgrade(database, "0006")
    at = {"created_at": "2025-01-01 00:00:00+00:00"}
    ours = {"assistant_id": 1, "api_key_id": 7, **at}
    with database.write() as session:
        put(session, "assistant", id=1, name="support", base_model="tiny", consent="opt_out", policies="{}", **at)
        put(session, "api_key", id=7, name="app", role="chat", hash="h", prefix="p", **at)
        put(session, "conversation", id=1, external_id="room", contributor_id="ada", ui_task=True, **ours)
        put(session, "conversation", id=2, **ours)
        counts = {"choice_index": 0, "prompt_tokens": 1, "completion_tokens": 1, "sampling": "{}", "status": "complete"}
        for number in (1, 2):
            said = {"role": "user", "content": "Hi.", "history_sha256": "x", "conversation_id": number}
            put(session, "message", id=number, **said, **counts, **at)
    migrations.upgrade(database)
    for number, person in ((3, "bob"), (4, None), (5, None)):
        with suppress(IntegrityError) if number == 5 else nullcontext(), database.write() as session:
            put(session, "conversation", id=number, external_id="room", contributor_id=person, **ours)

    def rows(query: str) -> list[tuple[Any, ...]]:
        with database.read() as session:
            return [tuple(row) for row in session.connection().execute(text(query))]

    here = "SELECT id, external_id, contributor_id FROM conversation ORDER BY id"
    assert rows(here) == [(1, "room", "ada"), (2, None, None), (3, "room", "bob"), (4, "room", None)]
    assert rows("SELECT COUNT(*) FROM conversation WHERE ui_task") == [(1,)]
    assert rows("SELECT conversation_id FROM message ORDER BY id") == [(1,), (2,)]
    with pytest.raises(IntegrityError), database.write() as session:
        session.connection().execute(text("DELETE FROM conversation WHERE id = 1"))  # messages still point at it
    migrations.downgrade(database, "0006")
    assert rows(here) == [(1, "room", "ada"), (2, None, None), (3, None, "bob"), (4, None, None)]
    migrations.upgrade(database)
    assert migrations.drift(database) == []


def test_cases_and_reviews_of_before_are_kept(settings: Settings) -> None:
    database = settings.open_database()
    migrations.upgrade(database, "0002")
    at = {"created_at": "2025-01-01 00:00:00+00:00"}
    with database.write() as session:
        put(session, "assistant", id=1, name="support", base_model="tiny", consent="opt_out", policies="{}", **at)
        put(session, "api_key", id=7, name="ada", role="reviewer", hash="h", prefix="p", **at)
        for number in (8, 9):
            put(session, "api_key", id=number, name="twin", role="reviewer", hash=f"h{number}", prefix="p", **at)
        put(session, "conversation", id=1, assistant_id=1, api_key_id=7, **at)
        message = {"conversation_id": 1, "role": "assistant", "content": "Red.", "history_sha256": "x", **at}
        counts = {"choice_index": 0, "prompt_tokens": 1, "completion_tokens": 1, "sampling": "{}", "status": "complete"}
        for number in (1, 2):
            put(session, "message", id=number, **message, **counts)
        said = {"assistant_id": 1, "api_key_id": 7, "kind": "report", "tags": "[]", "request_sha256": "r", **at}
        for number, reply, status in ((1, 1, "declined"), (2, 1, "received"), (3, 2, "received"), (4, 2, "in_review")):
            names = {
                "public_id": f"fb-{number}",
                "receipt_sha256": f"r{number}",
                "value": json.dumps({"category": "wrong"}),
            }
            put(session, "feedback", id=number, message_id=reply, status=status, **names, **said)
        for number, status, note in (
            (1, "closed", "No."),
            (2, "closed", "Yes."),
            (3, "closed", "Yes!"),
            (4, "open", None),
        ):
            closed_at = f"2025-02-0{number} 00:00:00+00:00" if note else None
            case = {"feedback_id": number, "category": "wrong", "status": status, "note": note, "closed_at": closed_at}
            put(session, "report_case", id=number, **case, **at)
        for number, decision, actor in (
            (1, "approved", "cli"),
            (1, "rejected", "key:ada"),
            (2, "approved", "key:twin"),
        ):
            put(session, "review", feedback_id=number, decision=decision, actor=actor, **at)
    migrations.upgrade(database)
    with database.read() as session:
        first, second = session.exec(select(ReportCase).order_by(col(ReportCase.id))).all()
        reviews = session.exec(select(Review).order_by(col(Review.id))).all()
        assert session.get_one(Feedback, 1).wants_second_opinion is False
    assert (first.message_id, first.assistant_id, first.status, first.outcome) == (
        1,
        1,
        CaseStatus.RESOLVED,
        CaseOutcome.UPHELD,
    )
    assert (first.answer, [note["text"] for note in first.notes], first.notes[0]["by"]) == (
        "Yes.",
        ["No."],
        "key:ada#7",
    )
    assert (second.status, second.outcome, second.answer, second.resolved_at) == (CaseStatus.OPEN, None, "Yes!", None)
    assert first.public_id != second.public_id
    assert [(one.decision, one.counts, one.actor) for one in reviews] == [
        (ReviewDecision.APPROVED, False, "cli"),
        (ReviewDecision.REJECTED, True, "key:ada#7"),
        (ReviewDecision.APPROVED, True, "key:twin"),
    ]
    migrations.downgrade(database, "0002")
    with database.read() as session:
        rows = session.connection().execute(text("SELECT feedback_id, status, note FROM report_case ORDER BY id"))
        assert [tuple(row) for row in rows] == [(1, "closed", "Yes."), (3, "open", "Yes!")]
    migrations.upgrade(database)
