"""What the worker does while its database is away."""

import threading
from pathlib import Path
from typing import Any

import pytest
from burnish_server import eventually
from pretended_training import ENDLESS, REFUSED, Works
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from feedback import adapters, datasets
from feedback.states import RunStatus
from feedback.testing import House


def events(logged: list[Any]) -> list[str]:
    return [entry["event"] for entry in logged]


def test_a_run_outlasts_an_outage_shorter_than_its_lease(embedded: House) -> None:
    works = Works(embedded, lease_seconds=4)
    run_id = works.request()
    works.launcher.meanwhile = lambda: works.database.go_away(2.5)
    works.launcher.command = "sleep 3"
    with capture_logs() as logged:
        assert works.worker.work_once()
    done = works.run(run_id)
    assert (done.status, done.attempt) == (RunStatus.SUCCEEDED, 1), done.error
    assert events(logged).count("database away: no heartbeat") == 1
    assert REFUSED not in str(logged)


def test_a_run_is_given_up_unburnt_when_the_lease_must_have_run_out(embedded: House) -> None:
    works = Works(embedded, lease_seconds=1)
    run_id = works.request()
    works.launcher.command, works.launcher.meanwhile = ENDLESS, works.database.go_away
    with capture_logs() as logged:
        assert works.worker.work_once()
    assert "lease lost" in events(logged)
    left = works.run(run_id)
    assert (left.status, left.attempt, left.error) == (RunStatus.RUNNING, 1, None)
    works.database.come_back()
    works.launcher.command, works.launcher.meanwhile = "true", lambda: None
    eventually(works.worker.work_once, "the lease runs out")
    done = works.run(run_id)
    assert (done.status, done.attempt) == (RunStatus.SUCCEEDED, 1)


def test_an_outage_in_the_middle_of_a_step_is_no_failed_attempt(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    publish = adapters.publish

    def publish_and_go(source: Path, registry: Path) -> str:
        monkeypatch.undo()
        works.database.go_away(0.5)
        return publish(source, registry)

    monkeypatch.setattr(adapters, "publish", publish_and_go)
    version = works.learn()
    assert works.run(str(version.run_id)).attempt == 1


def test_a_step_that_the_database_refuses_is_a_failed_attempt(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OperationalError("SELECT 1", {}, Exception("too many SQL variables"))

    monkeypatch.setattr(datasets, "record", refuse)
    run_id = works.request()
    assert works.worker.work_once()
    failed = works.run(run_id)
    assert (failed.status, failed.attempt) == (RunStatus.QUEUED, 2)
    assert failed.error == "Unexpected: OperationalError; see the worker's log."


def test_a_worker_waits_for_its_database(works: Works) -> None:
    run_id = works.request()
    works.database.go_away(0.5)

    def stop_when_done() -> None:
        try:
            eventually(lambda: works.run(run_id).status == RunStatus.SUCCEEDED, "the run ends")
        finally:
            works.worker.stop()

    stopping = threading.Thread(target=stop_when_done)
    stopping.start()
    with capture_logs() as logged:
        works.worker.run_forever()
    stopping.join()
    assert works.run(run_id).status == RunStatus.SUCCEEDED
    told = [entry for entry in logged if entry["event"] != "housekeeping failed"]  # which tries again, too
    assert events(told)[:4] == ["worker ready", "database away", "database back", "run claimed"]
    assert told[1]["error"] == "OperationalError"
