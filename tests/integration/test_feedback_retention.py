"""Conversations that are older than their assistant keeps them."""

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pretended_training import Works
from remains import files_with, tables_with
from sqlalchemy import update
from sqlmodel import col, select

from feedback import assistants, releases, retention, runs
from feedback.columns import now
from feedback.conversations import Turn, begin_replies, get_reply
from feedback.erasure import finish
from feedback.interchange.records import Record
from feedback.interchange.store import Source, take_in
from feedback.models import AdapterVersion, AuditEntry, Conversation, Erasure, Message
from feedback.states import ErasureKind, ErasureState, FeedbackKind, RunStatus
from feedback.testing import SECRET, House, open_house

OLD, NEW = "Zanzibar", "Wollongong"


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[House]:
    with open_house(tmp_path, retention={"message_days": 30}) as house:
        yield house


@pytest.fixture
def keeping(house: House) -> House:
    """An assistant that keeps conversations for 30 days."""
    with house.database.write() as session:
        assistants.set_policies(session, house.reload(), {"retention": {"message_days": 30}}, actor="test")
    return house


def age(house: House, completion_id: str, days: float) -> None:
    """Let a conversation have been held so many days ago."""
    with house.database.write() as session:
        number = get_reply(session, None, completion_id, 0)[1].id
        then = {"created_at": now() - timedelta(days=days)}
        session.connection().execute(update(Message).where(col(Message.conversation_id) == number).values(then))
        session.connection().execute(update(Conversation).where(col(Conversation.id) == number).values(then))


def say_old_and_new(house: House) -> None:
    for words, days in ((OLD, 31), (NEW, 29)):
        asked = house.reply(f"Where is {words}?", f"{words} is lost.", user="ada")
        house.say(asked, "correction", f"{words} is there.")
        age(house, asked, days)


def test_what_is_too_old_goes_from_tables_and_files(keeping: House) -> None:
    say_old_and_new(keeping)
    assert retention.enforce(keeping.database) == 1
    assert finish.clean_files(keeping.database, keeping.settings)
    assert finish.scrub(keeping.database)
    assert (tables_with(keeping.database, OLD), tables_with(keeping.database, NEW)) == ([], ["message", "feedback"])
    assert files_with(keeping.settings.data_folder, OLD) == []
    assert retention.enforce(keeping.database) == 0
    with keeping.database.read() as session:
        (erasure,) = session.exec(select(Erasure)).all()
        (entry,) = session.exec(select(AuditEntry).where(AuditEntry.action == "erasure")).all()
    assert (erasure.kind, erasure.state, erasure.actor) == (ErasureKind.RETENTION, ErasureState.COMPLETE, "retention")
    assert erasure.counts == entry.details["counts"] == {"conversation": 1, "message": 2, "feedback": 1}


def test_nothing_goes_where_nobody_set_a_limit(house: House) -> None:
    age(house, house.reply(OLD, OLD), 10_000)
    assert retention.enforce(house.database) == 0


def test_a_preview_counts_what_would_go(keeping: House) -> None:
    say_old_and_new(keeping)
    with keeping.database.read() as session:
        would = retention.would_erase(session, keeping.reload())
        shorter = retention.would_erase(session, keeping.reload(), since=retention.since_days(0))
        hurried = retention.would_erase(session, keeping.reload(), most=0)
    assert (would.counts, would.more) == ({"conversation": 1, "message": 2, "feedback": 1}, False)
    assert shorter.counts["conversation"] == 2
    assert (hurried.counts, hurried.more) == ({}, True)
    assert tables_with(keeping.database, OLD)


def test_a_conversation_that_went_on_is_kept_whole(embedded: House) -> None:
    first = embedded.reply(OLD, "Yes.")
    age(embedded, first, 40)
    history = [{"role": "user", "content": OLD}, {"role": "assistant", "content": "Yes."}]
    embedded.reply([*history, {"role": "user", "content": "Still?"}], "Still.")
    assert retention.enforce(embedded.database) == 0


def test_what_goes_on_while_the_old_is_taken_is_kept_whole(keeping: House) -> None:
    asked = keeping.reply(OLD, "Yes.")
    age(keeping, asked, 40)
    age(keeping, keeping.reply(f"{OLD}, too", "Yes."), 40)
    words = [("user", OLD), ("assistant", "Yes."), ("user", NEW)]
    gone: list[int] = []
    worker = threading.Thread(target=lambda: gone.append(retention.enforce(keeping.database)))
    with keeping.database.write() as session:
        turn = Turn([{"role": role, "content": text} for role, text in words], keeping.caller.api_key_id, None, None)
        guidelines = assistants.current_guidelines(session, keeping.assistant)
        live = releases.live(session, keeping.assistant).version
        begin_replies(session, keeping.assistant, guidelines, [live], turn, completion_id="chatcmpl-1", sampling={})
        worker.start()
        time.sleep(0.5)  # it has found the old ones, and waits for this transaction
    worker.join(30)
    assert gone == [1]
    with keeping.database.read() as session:
        said = session.exec(select(Message.content).order_by(col(Message.id))).all()
    assert [text for text in said if text] == [OLD, "Yes.", NEW]


def test_many_go_in_portions(embedded: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "CONVERSATIONS_AT_ONCE", 3)
    for number in range(7):
        age(embedded, embedded.reply(f"{OLD} {number}?", "Yes."), 31)
    assert retention.enforce(embedded.database) == 7
    with embedded.database.read() as session:
        assert [one.counts["conversation"] for one in session.exec(select(Erasure))] == [3, 3, 1]


def test_an_import_is_as_old_as_its_import(embedded: House) -> None:
    said = Record(
        line=1, messages=(("user", "Where?"),), reply="No.", kind=FeedbackKind.RATING, value=1,
        created_at=now() - timedelta(days=400),
    )  # fmt: skip
    list(take_in(embedded.database, SECRET, embedded.reload(), [said], Source("old.jsonl"), actor="test"))
    assert retention.enforce(embedded.database) == 0
    with embedded.database.write() as session:
        session.connection().exec_driver_sql("UPDATE feedback SET imported_at = '2020-01-01 00:00:00'")
    assert retention.enforce(embedded.database) == 1


def test_versions_that_learned_it_are_not_tainted_and_the_run_under_way_goes_on(house: House) -> None:
    works = Works(house)
    works.policy(retention={"message_days": 30})
    asked = house.reply(f"Where is {OLD}?", "No.", user="ada")
    house.say(asked, "correction", f"{OLD} is there.")
    run_id = works.request()

    def grow_old() -> None:
        age(house, asked, 31)
        assert retention.enforce(house.database) == 1
        assert not finish.clean_files(house.database, house.settings), "the run needs its folder"
        assert files_with(house.settings.runs, OLD)

    works.launcher.meanwhile = grow_old
    assert works.worker.work_once()
    assert works.run(run_id).status == RunStatus.SUCCEEDED
    with house.database.read() as session:
        assert [one.tainted_at for one in session.exec(select(AdapterVersion))] == [None] * 3
        assert runs.list_runs(session, house.assistant)[0].id == run_id, "none is queued for it"
    with house.database.write() as session:  # what a process says that fails, after its rows went from the tables
        runs.get_run(session, run_id).error = f"ValueError: {OLD}"
    assert finish.clean_files(house.database, house.settings)
    assert files_with(house.settings.runs, OLD) == []
    assert tables_with(house.database, OLD) == []


def test_retention_waits_for_a_run_that_freezes_its_dataset(embedded: House) -> None:
    age(embedded, embedded.reply(OLD, "Yes."), 31)
    with embedded.database.write() as session:
        runs.request(session, embedded.assistant, "a test", actor="test")
    assert runs.claim(embedded.database, "test", 60)
    assert retention.enforce(embedded.database) == 0
    with embedded.database.write() as session:
        runs.cancel(session, runs.list_runs(session)[0].id, actor="test")
    assert retention.enforce(embedded.database) == 1
