"""Housekeeping goes on after the database didn't answer, and readiness says so meanwhile."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from feedback.database import Database
from feedback.erasure import finish
from feedback.errors import BurnishError
from feedback.testing import make_database, make_settings
from service import upkeep

DEADLINE_SECONDS = 30


def test_a_database_that_does_not_answer_is_told_and_upkeep_goes_on(tmp_path: Path) -> None:
    database = make_database(make_settings(tmp_path))
    database.close()
    file = tmp_path / "burnish.sqlite3"
    hidden = file.rename(file.with_suffix(".hidden"))
    problems: dict[str, str] = {}

    async def scenario() -> None:
        tending = asyncio.create_task(upkeep.tend(database, problems, request_seconds=600, every_seconds=0.01))
        await until(lambda: upkeep.UPKEEP_PROBLEM in problems)
        hidden.rename(file)
        await until(lambda: not problems)
        assert not tending.done()
        tending.cancel()

    with capture_logs() as lines:
        asyncio.run(asyncio.wait_for(scenario(), DEADLINE_SECONDS))
    assert {(line["event"], line["error"]) for line in lines} == {("upkeep failed", "OperationalError")}
    assert "upkeep.py" in lines[0]["traceback"]
    database.close()


def test_what_an_operator_can_mend_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = make_database(make_settings(tmp_path))
    problems: dict[str, str] = {}

    def no_room(_: Database) -> bool:
        raise BurnishError("That takes more room.")

    monkeypatch.setattr(finish, "scrub", no_room)

    async def scenario() -> None:
        tending = asyncio.create_task(upkeep.tend(database, problems, request_seconds=600, every_seconds=0.01))
        await until(lambda: problems == {upkeep.UPKEEP_PROBLEM: "That takes more room. Tried again every 0.01 s."})
        tending.cancel()

    asyncio.run(asyncio.wait_for(scenario(), DEADLINE_SECONDS))
    database.close()


def test_a_last_checkpoint_that_fails_does_not_stop_a_shutdown(tmp_path: Path) -> None:
    nowhere = Database(f"sqlite:///{tmp_path / 'nothing.sqlite3'}")
    with capture_logs() as lines:
        asyncio.run(upkeep.finish(nowhere))
    assert [line["event"] for line in lines] == ["last checkpoint failed"]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  nothing announces it
        await asyncio.sleep(0.01)
