"""The queue's order, retries by hand and schedules."""

import secrets
from datetime import datetime, timedelta
from typing import Any

import pytest
from frozen import give_dataset
from sqlmodel import select

from feedback import assistants, due, runs, workers
from feedback.columns import now
from feedback.errors import Conflict, InvalidInput
from feedback.models import Assistant, Feedback, Run
from feedback.run_report import waits_for
from feedback.runs import Claim
from feedback.states import RunStatus
from feedback.testing import House

LONG = 60.0


def request(house: House, name: str = "support", priority: int = 0) -> str:
    with house.database.write() as session:
        if name not in [one.name for one in assistants.list_assistants(session)]:
            assistants.create(session, name, "tiny", actor="test")
        assistant = assistants.get_assistant(session, name)
        return runs.request(session, assistant, "a test", actor="test", priority=priority).id


def claim(house: House) -> Claim:
    held = runs.claim(house.database, "w", LONG)
    assert held is not None
    return held


def change(house: House, run_id: str, **fields: Any) -> None:
    with house.database.write() as session:
        for name, value in fields.items():
            setattr(runs.get_run(session, run_id), name, value)


def get(house: House, run_id: str) -> Run:
    with house.database.read() as session:
        return runs.get_run(session, run_id)


def retry(house: House, run_id: str) -> None:
    with house.database.write() as session:
        runs.retry(session, run_id, actor="test")


def cancel(house: House, run_id: str) -> None:
    with house.database.write() as session:
        runs.cancel(session, run_id, actor="test")


def finish(house: House, held: Claim) -> None:
    with house.database.write() as session:
        runs.finish(session, held)


def waiting_for(house: House, run_id: str) -> str:
    with house.database.read() as session:
        return waits_for(session, runs.get_run(session, run_id))


# ── the order ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_highest_priority_is_claimed_first_then_the_oldest(house: House) -> None:
    first, second = request(house, "a"), request(house, "b")
    urgent, least = request(house, "c", 5), request(house, "d", -1)
    with house.database.write() as session:
        runs.set_priority(session, second, 1, actor="test")
    assert [claim(house).run_id for _ in range(4)] == [urgent, second, first, least]
    with house.database.write() as session, pytest.raises(Conflict, match="only a queued"):
        runs.set_priority(session, first, 1, actor="test")


def test_a_priority_has_bounds(embedded: House) -> None:
    with pytest.raises(InvalidInput, match="-1000 to 1000"):
        request(embedded, priority=1001)


def test_a_search_has_bounds(embedded: House) -> None:
    with pytest.raises(InvalidInput, match="from 0 to 64 trials, not 65"), embedded.database.write() as session:
        runs.request(session, embedded.assistant, "a test", actor="test", search_trials=65)


def test_a_queued_run_says_what_it_waits_for(house: House) -> None:
    first = request(house, "a")
    assert "none was seen lately" in waiting_for(house, first)
    workers.show(house.database, "w")
    assert waiting_for(house, first) == "a worker, which takes it at once"
    second = request(house, "b")
    assert waiting_for(house, second).startswith("1 other run,")
    held = claim(house)
    assert waiting_for(house, second).startswith("1 other run,")
    runs.fail_attempt(house.database, held, "no")
    assert waiting_for(house, first).startswith("its next attempt, at ")
    with house.database.write() as session:
        seen = session.exec(select(workers.Worker)).one()
        seen.seen_at -= timedelta(seconds=workers.LATELY_SECONDS + 1)
    assert "none was seen since 20" in waiting_for(house, second)


def test_workers_come_and_go(house: House) -> None:
    with workers.Presence(house.database, "first"):
        while not _names(house):
            pass
    assert _names(house) == []
    workers.show(house.database, "killed")
    with house.database.write() as session:
        session.exec(select(workers.Worker)).one().seen_at -= timedelta(days=2)
    workers.show(house.database, "second")
    workers.show(house.database, "second")
    assert _names(house) == ["second"]


def _names(house: House) -> list[str]:
    with house.database.read() as session:
        return list(session.exec(select(workers.Worker.name)))


# ── retries by hand ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_failed_run_is_retried_in_its_last_attempts_folder_with_fresh_attempts(embedded: House) -> None:
    run_id = request(embedded)
    give_dataset(embedded, run_id)
    began = None
    for error in ("first", "second", "third"):
        change(embedded, run_id, not_before=now())
        runs.fail_attempt(embedded.database, claim(embedded), error)
        began = began or get(embedded, run_id).started_at
    assert get(embedded, run_id).status == RunStatus.FAILED
    retry(embedded, run_id)
    queued = get(embedded, run_id)
    assert (queued.status, queued.attempt, queued.error, queued.finished_at) == (RunStatus.QUEUED, 3, None, None)
    assert queued.started_at == began, "what its dataset was gathered from came in before"
    for attempt in (3, 4, 5):
        change(embedded, run_id, not_before=now())
        held = claim(embedded)
        assert (held.attempt, held.is_last) == (attempt, attempt == 5)
        runs.fail_attempt(embedded.database, held, "again")
    assert get(embedded, run_id).status == RunStatus.FAILED


def test_a_cancelled_run_without_a_dataset_gathers_what_was_said_since(embedded: House) -> None:
    run_id = request(embedded)
    claim(embedded)
    cancel(embedded, run_id)
    retry(embedded, run_id)
    assert get(embedded, run_id).started_at is None
    held = claim(embedded)
    assert (held.run_id, held.attempt) == (run_id, 1)


def test_what_cannot_be_retried_says_why(embedded: House) -> None:
    run_id = request(embedded)
    with pytest.raises(Conflict, match="is queued: only"):
        retry(embedded, run_id)
    give_dataset(embedded, run_id, rows_erased=1)
    cancel(embedded, run_id)
    with pytest.raises(Conflict, match="were erased since: start a new run with `burnish train support`"):
        retry(embedded, run_id)


def test_no_retry_beside_an_open_run(house: House) -> None:
    old = request(house)
    cancel(house, old)
    newer = request(house)
    with pytest.raises(Conflict, match=newer):
        retry(house, old)
    assert get(house, old).status == RunStatus.CANCELLED


# ── schedules ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def hourly(embedded: House) -> House:
    _schedule_hourly(embedded)
    return embedded


def _schedule_hourly(house: House) -> None:
    """At every full hour, since yesterday."""
    _schedule(house, "0 * * * *")
    with house.database.write() as session:
        session.get_one(Assistant, house.assistant.id).scheduled_since = now() - timedelta(days=1)


def _schedule(house: House, expression: str | None) -> None:
    policy = {"training": {"schedule": expression, "min_seconds_between_runs": 0}}
    with house.database.write() as session:
        assistants.set_policies(session, house.reload(), policy, actor="test")


def _full_hour() -> datetime:
    return now().replace(minute=0, second=0, microsecond=0)


def _say(house: House, at: datetime) -> None:
    said = house.correct(f"Which colour, {secrets.token_hex(4)}?", "Red.", "Blue.")
    with house.database.write() as session:
        session.exec(select(Feedback).where(Feedback.public_id == said.id)).one().created_at = at


def test_at_its_time_one_run_is_due_if_anything_is_new(house: House) -> None:
    _schedule_hourly(house)
    assert due.request_what_is_due(house.database) == []
    _say(house, _full_hour() + timedelta(seconds=1))  # after the last time: for the next one
    assert due.request_what_is_due(house.database) == []
    _say(house, _full_hour() - timedelta(seconds=1))
    (run,) = due.request_what_is_due(house.database)
    assert run.requested_by == "policy"
    assert run.reason.startswith("1 new corrections and choices at ")
    assert run.reason.endswith("(schedule 0 * * * *)")
    assert due.request_what_is_due(house.database) == []
    finish(house, claim(house))
    assert due.request_what_is_due(house.database) == [], "this hour had its run"


@pytest.mark.parametrize("ending", ["finished", "failed", "cancelled"])
def test_a_time_with_nothing_new_since_the_last_run_passes(hourly: House, ending: str) -> None:
    _say(hourly, _full_hour() - timedelta(hours=3))
    (run,) = due.request_what_is_due(hourly.database)
    held = claim(hourly)
    if ending == "finished":
        finish(hourly, held)
    elif ending == "failed":
        runs.fail_attempt(hourly.database, held, "nothing to train on", final=True)
    else:
        cancel(hourly, run.id)
    two_hours_ago = _full_hour() - timedelta(hours=2)
    change(hourly, run.id, created_at=two_hours_ago, started_at=two_hours_ago)
    assert due.request_what_is_due(hourly.database) == []
    _say(hourly, _full_hour() - timedelta(hours=1))
    assert len(due.request_what_is_due(hourly.database)) == 1


def test_a_new_schedule_counts_no_time_before_it(embedded: House) -> None:
    _say(embedded, _full_hour() - timedelta(hours=2))
    _schedule(embedded, "0 * * * *")
    assert due.request_what_is_due(embedded.database) == []
    with embedded.database.read() as session:
        awaited = due.outlook(session, embedded.reload())
    assert awaited is not None
    assert awaited.scheduled_at == _full_hour() + timedelta(hours=1)
    assert str(awaited).startswith("1 of 300 new corrections and choices; schedule ")
    _schedule(embedded, None)
    with embedded.database.read() as session:
        assert str(due.outlook(session, embedded.reload())) == "1 of 300 new corrections and choices"


def test_the_cool_down_holds_a_scheduled_run_up(hourly: House) -> None:
    request(hourly)
    held = claim(hourly)
    finish(hourly, held)
    change(hourly, held.run_id, created_at=_full_hour() - timedelta(minutes=30), started_at=_full_hour() - timedelta(1))
    _say(hourly, _full_hour() - timedelta(minutes=20))
    for seconds, expected in ((7200, 0), (0, 1)):
        with hourly.database.write() as session:
            policy = {"training": {"min_seconds_between_runs": seconds}}
            assistants.set_policies(session, hourly.reload(), policy, actor="test")
        with hourly.database.read() as session:
            assert ("cool-down until" in str(due.outlook(session, hourly.reload()))) == bool(seconds)
        assert len(due.request_what_is_due(hourly.database)) == expected


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [("61 3 * * *", "bad minute"), ("* * * *", "4 instead of 5 fields"), ("0 0 30 2 *", "bad day-of-month")],
)
def test_a_wrong_schedule_is_refused_where_it_is_set(embedded: House, expression: str, complaint: str) -> None:
    with pytest.raises(InvalidInput, match=f"training.schedule: '.*' is no cron expression .{complaint}"):
        _schedule(embedded, expression)
    assert assistants.policies(embedded.reload()).training.schedule is None
