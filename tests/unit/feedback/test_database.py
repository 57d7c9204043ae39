"""Readers, writers and checkpoints beside each other, and a database that isn't there."""

import random
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from feedback import assistants, conversations
from feedback.database import Database
from feedback.errors import BurnishError
from feedback.testing import House, make_settings

SOON_SECONDS = 10.0
"""Far below the 30 s that a busy SQLite is waited for."""


def log_of(house: House) -> Path:
    return house.settings.data_folder / "burnish.sqlite3-wal"


def create_assistant(database: Database, name: str) -> None:
    with database.write() as session:
        assistants.create(session, name, "a model", actor="test")


def begin_reading(session: Session) -> None:
    assistants.list_assistants(session)


def test_the_schema_is_checked_beside_a_long_write(house: House) -> None:
    other = house.settings.open_database()
    began = time.monotonic()
    with house.database.write() as session:
        assistants.create(session, "garden", "a model", actor="test")
        other.check()
    other.close()
    assert time.monotonic() - began < SOON_SECONDS


def test_a_checkpoint_waits_for_no_reader_and_no_writer_waits_for_it(embedded: House) -> None:
    other = embedded.settings.open_database()
    began = time.monotonic()
    with other.read() as session:
        begin_reading(session)
        create_assistant(embedded.database, "garden")
        checkpoint = threading.Thread(target=embedded.database.checkpoint)
        checkpoint.start()
        create_assistant(embedded.database, "kitchen")
        checkpoint.join()
    other.close()
    assert time.monotonic() - began < SOON_SECONDS


def test_the_last_checkpoint_empties_the_log(embedded: House) -> None:
    other = embedded.settings.open_database()
    other.check()  # a connection stays open, without which SQLite removes the log
    create_assistant(embedded.database, "garden")
    assert log_of(embedded).stat().st_size
    embedded.database.checkpoint(last=True)
    assert log_of(embedded).stat().st_size == 0
    other.close()


def test_the_last_checkpoint_does_not_wait_long_for_a_reader(embedded: House) -> None:
    other = embedded.settings.open_database()
    with other.read() as session:
        begin_reading(session)
        create_assistant(embedded.database, "garden")
        began = time.monotonic()
        embedded.database.checkpoint(last=True)
    other.close()
    assert time.monotonic() - began < SOON_SECONDS


def test_looking_for_a_database_that_is_not_there_makes_none(tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "a folder? #1")
    database = settings.open_database()
    with pytest.raises(BurnishError, match=r"burnish\.sqlite3.*BURNISH_DATA_FOLDER.*burnish up"):
        database.check()
    with pytest.raises(OperationalError), database.read() as session:
        begin_reading(session)
    assert list(tmp_path.iterdir()) == []


def test_any_time_is_read_back_whatever_zone_the_server_or_the_environment_has(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    other = house.settings.open_database()
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    with other.write() as session:
        assistants.get_assistant(session, house.assistant.name).created_at = last
    for _ in range(2):  # also after the first one's transaction is over
        with other.read() as session:
            assert assistants.get_assistant(session, house.assistant.name).created_at == last
    other.close()


# ── leaving nothing behind ───────────────────────────────────────────────────────────────────────────────────


def test_what_was_deleted_is_in_no_byte_of_the_database(embedded: House) -> None:
    """Replies that grow move their neighbours from page to page: such copies are what `secure_delete` leaves."""
    chance = random.Random(7)
    marks = [f"mark-{number:05}-{chance.randbytes(6).hex()}" for number in range(400)]
    growing = {}
    for mark in marks:
        growing[embedded.reply(f"what is {mark}?", f"{mark} {mark}")] = f"{mark} " * chance.randint(1, 120)
        if len(growing) == 10:  # replies being written at once
            with embedded.database.write() as session:
                for completion_id in chance.sample(sorted(growing), 10):
                    reply, _ = conversations.get_reply(session, None, completion_id, 0)
                    reply.content = growing[completion_id]
                    session.flush()
            growing.clear()
    with embedded.database.write() as session:
        connection = session.connection()
        connection.exec_driver_sql("DELETE FROM message WHERE conversation_id % 3 = 0")
        left = " ".join(row[0] for row in connection.exec_driver_sql("SELECT content FROM message"))
    gone = [mark for mark in marks if mark not in left]
    assert len(gone) == 133
    assert embedded.database.scrub()
    everything = b"".join(path.read_bytes() for path in embedded.settings.data_folder.iterdir() if path.is_file())
    assert [mark for mark in gone if mark.encode() in everything] == []
    assert all(mark.encode() in everything for mark in set(marks) - set(gone))


def test_one_process_owns_the_log_until_it_closes_the_database(embedded: House) -> None:
    other = embedded.settings.open_database()
    other.checkpoint()
    create_assistant(embedded.database, "garden")
    embedded.database.checkpoint(last=True)
    assert not embedded.database.scrub()
    assert log_of(embedded).stat().st_size
    other.close()
    assert embedded.database.scrub()
    third = embedded.settings.open_database()
    assert third.scrub(), "a scrub by the way takes no ownership"
    third.close()


def test_a_scrub_that_a_reader_holds_up_says_so(embedded: House) -> None:
    other = embedded.settings.open_database()
    with other.read() as session:
        begin_reading(session)
        create_assistant(embedded.database, "garden")
        sizes = set()
        for _ in range(3):
            assert not embedded.database.scrub()
            sizes.add(log_of(embedded).stat().st_size)
    assert len(sizes) == 1, "the file isn't written anew again and again, which the log would have to hold"
    assert embedded.database.scrub()
    other.close()


def test_a_scrub_works_on_each_kind(house: House) -> None:
    assert house.database.scrub()


def test_what_the_planner_knows_quotes_nothing_that_was_scrubbed(house: House) -> None:
    if house.database.is_sqlite:
        pytest.skip("SQLite's statistics only count")
    for words in [f"zanzibar {number}" for number in range(30)] + ["wollongong 1", "wollongong 2"]:
        house.reply(words, "yes")
    with house.database.write() as session:
        connection = session.connection()
        connection.exec_driver_sql("ANALYZE message")
        assert "zanzibar" in known_of_contents(connection)
        connection.exec_driver_sql("DELETE FROM message WHERE parent_id IS NOT NULL")
        connection.exec_driver_sql("DELETE FROM message WHERE content LIKE 'zanzibar%%'")
    assert house.database.scrub()
    with house.database.read() as session:
        known = known_of_contents(session.connection())
    assert "wollongong" in known
    assert "zanzibar" not in known


def known_of_contents(connection: Connection) -> str:
    statistics = "SELECT coalesce(most_common_vals::text, '') || coalesce(histogram_bounds::text, '') FROM pg_stats"
    return str(connection.exec_driver_sql(f"{statistics} WHERE tablename = 'message' AND attname = 'content'").scalar())
