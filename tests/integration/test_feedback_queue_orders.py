"""No order of deeds breaks what the queue promises."""

import tempfile
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.strategies import integers, sampled_from
from sqlmodel import Session, select

from feedback import assistants, runs
from feedback.columns import now
from feedback.errors import Conflict, LeaseLost
from feedback.models import Run
from feedback.runs import Claim
from feedback.states import OPEN_RUNS, RunStatus
from feedback.testing import open_house

LONG = 60.0
NAMES = ("a", "b", "c")


class Queue(RuleBasedStateMachine):
    """Two workers, one of which may be dead, and people who request, cancel, retry and reorder; beside a plain model.

    The model is each run's status, attempt and place, and who holds which lease.
    """

    @initialize()
    def open(self) -> None:
        self.end_of_it = ExitStack()
        folder = self.end_of_it.enter_context(tempfile.TemporaryDirectory())
        self.house = self.end_of_it.enter_context(open_house(Path(folder)))
        with self.house.database.write() as session:
            for name in NAMES:
                assistants.create(session, name, "tiny", actor="test")
        self.known: dict[str, tuple[str, RunStatus, int, int]] = {}  # id → assistant, status, priority, fresh attempts
        self.order: list[str] = []
        self.held: dict[str, Claim] = {}
        self.lost: list[Claim] = []

    def teardown(self) -> None:
        self.end_of_it.close()

    def _change(self, run_id: str, **fields: Any) -> None:
        with self.house.database.write() as session:
            for field, value in fields.items():
                setattr(runs.get_run(session, run_id), field, value)

    def _request(self, name: str, priority: int) -> str:
        with self.house.database.write() as session:
            assistant = assistants.get_assistant(session, name)
            return runs.request(session, assistant, "a test", actor="test", priority=priority).id

    def _claim(self) -> Claim | None:
        return runs.claim(self.house.database, "w", LONG)

    def _finish(self, held: Claim) -> None:
        with self.house.database.write() as session:
            runs.finish(session, held)

    def _open(self, name: str) -> list[str]:
        return [run_id for run_id, (whose, status, *_) in self.known.items() if whose == name and status in OPEN_RUNS]

    def _set(self, run_id: str, status: RunStatus, *, tries: int | None = None, priority: int | None = None) -> None:
        whose, _, before, tried = self.known[run_id]
        self.known[run_id] = (
            whose, status, before if priority is None else priority, tried if tries is None else tries
        )  # fmt: skip

    @rule(name=sampled_from(NAMES), priority=integers(-2, 2))
    def request(self, name: str, priority: int) -> None:
        if self._open(name):
            with pytest.raises(Conflict):
                self._request(name, priority)
            return
        run_id = self._request(name, priority)
        self.known[run_id] = (name, RunStatus.QUEUED, priority, 1)
        self.order.append(run_id)

    @rule()
    def claim(self) -> None:
        self._claim_the_first()

    def _claim_the_first(self) -> None:
        waiting = [run_id for run_id in self.order if self.known[run_id][1] == RunStatus.QUEUED]
        held = self._claim()
        if not waiting:
            assert held is None
            return
        assert held is not None
        assert held.run_id == min(waiting, key=lambda one: (-self.known[one][2], self.order.index(one)))
        assert held.tries == self.known[held.run_id][3]
        self.held[held.run_id] = held
        self._set(held.run_id, RunStatus.RUNNING)

    @precondition(lambda self: self.held)
    @rule(pick=integers(0, 9))
    def die_and_be_taken_over(self, pick: int) -> None:
        run_id = sorted(self.held)[pick % len(self.held)]
        tried = self.known[run_id][3]  # it never has a dataset
        self.lost.append(self.held.pop(run_id))
        self._change(run_id, lease_expires_at=now() - timedelta(seconds=1))
        if tried == runs.MAX_ATTEMPTS:
            self._set(run_id, RunStatus.FAILED)
            self._claim_the_first()
            return
        self._change(run_id, priority=1000)
        taken = self._claim()
        assert taken is not None
        self._change(run_id, priority=self.known[run_id][2])
        assert (taken.run_id, taken.tries) == (run_id, tried + 1)
        self.held[run_id] = taken
        self._set(run_id, RunStatus.RUNNING, tries=tried + 1)

    @precondition(lambda self: self.held)
    @rule(pick=integers(0, 9), how=sampled_from(["finish", "fail", "give up", "give back"]))
    def end(self, pick: int, how: str) -> None:
        run_id = sorted(self.held)[pick % len(self.held)]
        held = self.held.pop(run_id)
        if how == "finish":
            self._finish(held)
            self._set(run_id, RunStatus.SUCCEEDED)
        elif how == "give back":
            runs.release_lease(self.house.database, held)
            self._set(run_id, RunStatus.QUEUED)
        else:
            status = runs.fail_attempt(self.house.database, held, "no", final=how == "give up")
            tried = self.known[run_id][3]
            over = how == "give up" or tried == runs.MAX_ATTEMPTS
            assert status == (RunStatus.FAILED if over else RunStatus.QUEUED)
            self._set(run_id, status, tries=tried if over else tried + 1)
            self._change(run_id, not_before=now())
        self.lost.append(held)

    @precondition(lambda self: self.known)
    @rule(pick=integers(0, 99), deed=sampled_from(["cancel", "retry", "reorder"]), priority=integers(-2, 2))
    def meddle(self, pick: int, deed: str, priority: int) -> None:
        run_id = self.order[pick % len(self.order)]
        whose, status, *_ = self.known[run_id]
        allowed = {
            "cancel": status in OPEN_RUNS,
            "retry": status in runs.RETRIABLE and not self._open(whose),
            "reorder": status == RunStatus.QUEUED,
        }[deed]

        def act(session: Session) -> None:
            if deed == "cancel":
                runs.cancel(session, run_id, actor="test")
            elif deed == "retry":
                runs.retry(session, run_id, actor="test")
            else:
                runs.set_priority(session, run_id, priority, actor="test")

        if not allowed:
            with self.house.database.write() as session, pytest.raises(Conflict):
                act(session)
            return
        with self.house.database.write() as session:
            act(session)
        if deed == "cancel":
            self._set(run_id, RunStatus.CANCELLED)
            if run_id in self.held:
                self.lost.append(self.held.pop(run_id))
        elif deed == "retry":
            self._set(run_id, RunStatus.QUEUED, tries=1)
        else:
            self._set(run_id, status, priority=priority)

    @invariant()
    def every_run_is_as_it_should_be(self) -> None:
        if not hasattr(self, "known"):
            return
        with self.house.database.read() as session:
            stored = {run.id: run.status for run in session.exec(select(Run))}
        assert stored == {run_id: status for run_id, (_, status, *_) in self.known.items()}

    @invariant()
    def leases_hold_or_write_nothing(self) -> None:
        for held in getattr(self, "held", {}).values():
            assert runs.holds(self.house.database, held)
        for held in getattr(self, "lost", [])[-2:]:
            with pytest.raises(LeaseLost):
                runs.heartbeat(self.house.database, held)


TestQueue = Queue.TestCase
TestQueue.settings = settings(
    max_examples=5, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
