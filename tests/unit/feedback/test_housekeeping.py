"""The worker's housekeeping goes on, whatever one of its jobs runs into."""

import time

import pytest
from structlog.testing import capture_logs

from feedback import retention
from feedback.database import Database
from feedback.erasure import erase as erasing
from feedback.erasure.subjects import of_completion
from feedback.errors import BurnishError
from feedback.housekeeping import Housekeeping
from feedback.states import ErasureState
from feedback.testing import House

DEADLINE_SECONDS = 20.0


def test_a_job_that_fails_holds_up_no_other_and_is_told_once(embedded: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Database) -> int:
        raise BurnishError("Something is to be mended.")

    monkeypatch.setattr(retention, "enforce", broken)
    monkeypatch.setattr("feedback.housekeeping.RETRY_SECONDS", 0.01)
    asked = embedded.reply("Where?", "There.")
    with embedded.database.read() as session:
        subject = of_completion(session, embedded.assistant, asked)
    made, _ = erasing.erase(embedded.database, embedded.assistant, subject, actor="test")
    deadline = time.monotonic() + DEADLINE_SECONDS
    state = made.state
    with capture_logs() as lines, Housekeeping(embedded.settings, embedded.database):
        while state != ErasureState.COMPLETE and time.monotonic() < deadline:
            time.sleep(0.05)
            with embedded.database.read() as session:
                state = erasing.get_erasure(session, made.public_id).state
    assert state == ErasureState.COMPLETE
    assert [line["reason"] for line in lines] == ["Something is to be mended."]
