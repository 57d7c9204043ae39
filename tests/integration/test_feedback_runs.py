"""The run queue: first come first served, one holder at a time, and a lost lease writes nothing."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from frozen import give_dataset
from sqlmodel import select

from feedback import assistants, runs
from feedback.columns import now
from feedback.errors import Conflict, InvalidInput, LeaseLost, NotFound
from feedback.models import AuditEntry, Run
from feedback.runs import Claim
from feedback.states import RunStatus
from feedback.testing import House

LONG = 60.0
OVER_AT_ONCE = 0.001
"""A lease in seconds that has run out by the time anybody looks."""


def request(house: House, name: str = "support") -> str:
    with house.database.write() as session:
        if name not in [assistant.name for assistant in assistants.list_assistants(session)]:
            assistants.create(session, name, "tiny", actor="test")
        return runs.request(session, assistants.get_assistant(session, name), "a test", actor="test").id


def claim(house: House, worker: str = "w", lease_seconds: float = LONG) -> Claim:
    held = runs.claim(house.database, worker, lease_seconds)
    assert held is not None
    return held


def get(house: House, run_id: str) -> Run:
    with house.database.read() as session:
        return runs.get_run(session, run_id)


def finish(house: House, held: Claim) -> None:
    with house.database.write() as session:
        runs.finish(session, held)


def lost_lease_writes(house: House, held: Claim) -> None:
    """Every write of a holder that lost its lease is refused."""
    writes: list[Callable[[], object]] = [
        lambda: runs.heartbeat(house.database, held),
        lambda: runs.fail_attempt(house.database, held, "no"),
        lambda: runs.release_lease(house.database, held),
        lambda: finish(house, held),
    ]
    for write in writes:
        with pytest.raises(LeaseLost):
            write()


def test_the_oldest_run_is_claimed_first_and_only_once(house: House) -> None:
    asked = [request(house, name) for name in ("support", "school", "garden")]
    assert [claim(house).run_id for _ in asked] == asked
    assert runs.claim(house.database, "w", LONG) is None


def test_an_assistant_has_one_open_run(house: House) -> None:
    run_id = request(house)
    with pytest.raises(Conflict, match=run_id):
        request(house)
    held = claim(house)
    with pytest.raises(Conflict):
        request(house)
    finish(house, held)
    assert request(house) != run_id


def test_claimers_at_once_never_get_the_same_run(house: House) -> None:
    asked = {request(house, f"assistant-{number}") for number in range(5)}
    start = Barrier(8)

    def work(number: int) -> list[str]:
        start.wait()
        return [held.run_id for _ in range(5) if (held := runs.claim(house.database, f"w{number}", LONG))]

    with ThreadPoolExecutor(8) as pool:
        claimed = [run_id for one in pool.map(work, range(8)) for run_id in one]
    assert sorted(claimed) == sorted(asked)


def test_a_lease_that_ran_out_is_taken_over_within_the_same_attempt(house: House) -> None:
    run_id = request(house)
    give_dataset(house, run_id)
    first = claim(house, "first", OVER_AT_ONCE)
    time.sleep(0.01)
    second = claim(house, "second")
    assert (second.run_id, second.attempt) == (run_id, first.attempt)
    assert second.lease_token != first.lease_token
    lost_lease_writes(house, first)
    runs.heartbeat(house.database, second)
    assert get(house, run_id).worker == "second"


def test_a_run_that_ends_its_workers_while_they_make_its_dataset_is_given_up(house: House) -> None:
    run_id, behind = request(house), request(house, "school")
    for attempt in (1, 2, 3):
        held = claim(house, f"worker {attempt}", OVER_AT_ONCE)
        assert (held.run_id, held.attempt, held.is_last) == (run_id, attempt, attempt == 3)
        time.sleep(0.01)
    assert claim(house).run_id == behind
    failed = get(house, run_id)
    assert (failed.status, failed.attempt) == (RunStatus.FAILED, 3)
    assert "ended while it made the dataset, in the last of 3 attempts" in str(failed.error)
    lost_lease_writes(house, held)
    with house.database.write() as session:
        runs.retry(session, run_id, actor="test")
    again = claim(house)
    assert (again.run_id, again.tries) == (run_id, 1)


def test_a_heartbeat_keeps_the_run(embedded: House) -> None:
    request(embedded)
    held = claim(embedded, lease_seconds=LONG)
    runs.heartbeat(embedded.database, held)
    expires = get(embedded, held.run_id).lease_expires_at
    assert expires is not None
    assert expires - now() > timedelta(seconds=LONG - 5)
    assert runs.claim(embedded.database, "other", LONG) is None


def test_a_run_fails_after_three_attempts_with_waits_between(house: House) -> None:
    run_id = request(house)
    assert runs.fail_attempt(house.database, claim(house), "first") == RunStatus.QUEUED
    assert runs.claim(house.database, "w", LONG) is None  # not before its wait is over
    waiting = get(house, run_id)
    assert timedelta(seconds=3) < waiting.not_before - now() <= timedelta(seconds=runs.RETRY_SECONDS[0])
    assert (waiting.attempt, waiting.error) == (2, "first")
    assert runs.fail_attempt(house.database, _claim_early(house, run_id), "second") == RunStatus.QUEUED
    assert get(house, run_id).not_before - now() > timedelta(seconds=runs.RETRY_SECONDS[1] - 5)
    held = _claim_early(house, run_id)
    assert held.attempt == 3
    assert runs.fail_attempt(house.database, held, "third") == RunStatus.FAILED
    failed = get(house, run_id)
    assert (failed.status, failed.attempt, failed.error) == (RunStatus.FAILED, 3, "third")
    assert failed.finished_at is not None
    assert runs.claim(house.database, "w", LONG) is None
    lost_lease_writes(house, held)
    with house.database.read() as session:
        noted = session.exec(select(AuditEntry).where(AuditEntry.action == "run.attempt_failed")).all()
    assert [entry.details["attempt"] for entry in noted] == [1, 2, 3]


def test_what_no_retry_can_help_fails_at_once(embedded: House) -> None:
    request(embedded)
    assert runs.fail_attempt(embedded.database, claim(embedded), "no data", final=True) == RunStatus.FAILED


def test_a_cancelled_run_is_lost_to_its_worker(house: House) -> None:
    run_id = request(house)
    held = claim(house)
    with house.database.write() as session:
        runs.cancel(session, run_id, actor="test")
    lost_lease_writes(house, held)
    assert get(house, run_id).status == RunStatus.CANCELLED
    with house.database.write() as session, pytest.raises(Conflict):
        runs.cancel(session, run_id, actor="test")


def test_a_run_that_finishes_at_this_moment_is_not_cancelled(house: House) -> None:
    run_id = request(house)
    held = claim(house)

    def cancel() -> None:
        with house.database.write() as session:
            runs.cancel(session, run_id, actor="test")

    with ThreadPoolExecutor(1) as pool:
        with house.database.write() as session:
            runs.finish(session, held)
            cancelled = pool.submit(cancel)
            time.sleep(0.3)  # it is waiting for this transaction by now
        with pytest.raises(Conflict):
            cancelled.result()
    assert get(house, run_id).status == RunStatus.SUCCEEDED


def test_a_run_given_back_is_claimed_again_at_once(embedded: House) -> None:
    request(embedded)
    held = claim(embedded)
    runs.release_lease(embedded.database, held)
    assert get(embedded, held.run_id).status == RunStatus.QUEUED
    again = claim(embedded)
    assert (again.run_id, again.attempt) == (held.run_id, held.attempt)
    lost_lease_writes(embedded, held)


def test_finishing_ends_the_run_once(embedded: House) -> None:
    request(embedded)
    held = claim(embedded)
    finish(embedded, held)
    done = get(embedded, held.run_id)
    assert (done.status, done.lease_token) == (RunStatus.SUCCEEDED, None)
    assert done.finished_at is not None
    lost_lease_writes(embedded, held)


def test_a_finish_that_is_rolled_back_leaves_the_run_held(embedded: House) -> None:
    request(embedded)
    held = claim(embedded)

    def finish_and_fail() -> None:
        with embedded.database.write() as session:
            runs.finish(session, held)
            raise InvalidInput("registering failed")

    with pytest.raises(InvalidInput):
        finish_and_fail()
    runs.heartbeat(embedded.database, held)


def test_an_unknown_run_is_not_found(embedded: House) -> None:
    with embedded.database.read() as session, pytest.raises(NotFound, match="burnish status"):
        runs.get_run(session, "run-none")


def _claim_early(house: House, run_id: str) -> Claim:
    """Claim a waiting run as if its wait were over."""
    with house.database.write() as session:
        runs.get_run(session, run_id).not_before = now()
    return claim(house)
