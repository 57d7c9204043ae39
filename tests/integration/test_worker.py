"""The worker from claim to release, on real databases and folders, with a training process that only pretends."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from burnish_server import eventually, write_adapter
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, select
from structlog.testing import capture_logs

from feedback import adapters, assistants, datasets, files, releases, runs
from feedback.columns import now
from feedback.database import Database
from feedback.models import AdapterVersion, Evaluation, Release, Run
from feedback.processes import TrainerTask
from feedback.run_folder import RunSpec, attempt_folder
from feedback.states import ReleaseState, RunStatus
from feedback.testing import House, open_house
from trainer.evaluation import record
from trainer.launchers.local import LocalLauncher
from trainer.worker import Worker

KILLED, ENDLESS = "kill -9 $$", "exec sleep 600"
REFUSED = "connection refused"


class Pretender(LocalLauncher):
    """Writes at once what a training process that ends well would have written; the process is a shell command."""

    def __init__(self, house: House) -> None:
        super().__init__(house.settings)
        self.started: list[tuple[TrainerTask, int]] = []
        self.command = "true"
        self.meanwhile: Callable[[], object] = lambda: None

    def start(self, task: TrainerTask, folder: Path, attempt: int) -> subprocess.Popen[bytes]:
        self.started.append((task, attempt))
        attempt_folder(folder, attempt).mkdir(exist_ok=True)
        if self.command not in (KILLED, ENDLESS):
            write_results(folder, attempt)
        self.meanwhile()
        return subprocess.Popen(["sh", "-c", self.command])


def write_results(folder: Path, attempt: int) -> None:
    """An adapter, and an evaluation that found two thirds of the held-out facts learned."""
    adapter = attempt_folder(folder, attempt) / "adapter"
    if not adapter.exists():
        write_adapter(adapter)
    spec = RunSpec.model_validate(files.read_json(folder / "run.json"))
    found = record.Evaluation(
        run_id=spec.run_id,
        assistant=spec.assistant,
        base_model=spec.base_model,
        dataset_sha256=spec.dataset_sha256,
        candidate_version=files.folder_sha256(adapter, adapters.CONTENT),
        baseline_version=spec.baseline_version,
        seed=1,
        rows=[row(number) for number in range(80)],
        pairs=[],
        ratings=[],
        guards=[],
        samples=[],
        seconds={},
    )
    files.write_json(attempt_folder(folder, attempt) / "evaluation.json", found.model_dump())


def row(number: int) -> record.RowResult:
    knows = number % 3 < 2
    return record.RowResult(
        id=f"r{number}",
        contributor=f"c{number % 20}",
        cluster=f"q{number}",
        topic=f"t{number % 27}",
        question="?",
        expected="!",
        key_facts=["14"],
        candidate=record.Measured(reply="14", recalled=knows, contrast=1.0 if knows else 0.1, loss=1.0),
        baseline=record.Measured(reply="no", recalled=False, contrast=0.0, loss=3.0),
    )


class Unsteady(Database):
    """The same database, with outages."""

    away = False

    @contextmanager
    def read(self) -> Iterator[Session]:
        self._answer()
        with super().read() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        self._answer()
        with super().write() as session:
            yield session

    def go_away(self, seconds: float = 600) -> None:
        self.away = True
        back = threading.Timer(seconds, self.come_back)
        back.daemon = True
        back.start()

    def come_back(self) -> None:
        self.away = False

    def _answer(self) -> None:
        if self.away:
            raise OperationalError("SELECT 1", {}, Exception(REFUSED))


class Works:
    """A house with lessons, a worker in it, and looks at what became of a run."""

    def __init__(self, house: House, lease_seconds: float = 20) -> None:
        self.house = house
        self.database = Unsteady(house.database.url)
        self.launcher = Pretender(house)
        settings = house.settings.model_copy(update={"lease_seconds": lease_seconds, "queue_poll_seconds": 0.05})
        self.worker = Worker(settings, self.database, self.launcher)
        for number in range(8):
            house.correct(f"{'abcdefgh'[number] * 9}?", "No.", f"Yes {number}.", user=f"person-{number}")

    def request(self) -> str:
        with self.house.database.write() as session:
            return runs.request(session, self.house.reload(), "a test", actor="test").id

    def run(self, run_id: str) -> Run:
        with self.house.database.read() as session:
            return runs.get_run(session, run_id)

    def learn(self) -> AdapterVersion:
        run_id = self.request()
        assert self.worker.work_once()
        assert self.run(run_id).status == RunStatus.SUCCEEDED, self.run(run_id).error
        return self.version(run_id)

    def version(self, run_id: str) -> AdapterVersion:
        with self.house.database.read() as session:
            return session.exec(select(AdapterVersion).where(AdapterVersion.run_id == run_id)).one()

    def promote(self, version: AdapterVersion) -> None:
        with self.house.database.write() as session:
            releases.promote(session, self.house.reload(), version, actor="test", reason="a test", force=True)

    def live(self) -> int:
        with self.house.database.read() as session:
            return releases.live(session, self.house.assistant).version.number

    def proposed(self) -> list[int]:
        with self.house.database.read() as session:
            found = session.exec(select(Release.adapter_version_id).where(Release.state == ReleaseState.PROPOSED))
            return [session.get_one(AdapterVersion, one).number for one in found]

    def judged_against(self, version: AdapterVersion) -> int:
        with self.house.database.read() as session:
            evaluation = session.exec(select(Evaluation).where(Evaluation.candidate_id == version.id)).one()
            return session.get_one(AdapterVersion, evaluation.baseline_id).number

    def policy(self, **changes: dict[str, Any]) -> None:
        with self.house.database.write() as session:
            assistants.set_policies(session, self.house.reload(), changes, actor="test")


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[House]:
    """A deployment on SQLite alone, for what doesn't depend on the kind of database."""
    with open_house(tmp_path) as house:
        yield house


@pytest.fixture
def works(embedded: House) -> Works:
    return Works(embedded)


def events(logged: list[Any]) -> list[str]:
    return [entry["event"] for entry in logged]


# ── from a verdict to a release ──────────────────────────────────────────────────────────────────────────────


def test_what_is_judged_better_is_proposed_or_goes_live(house: House) -> None:
    works = Works(house)
    assert works.judged_against(works.learn()) == 0
    assert (works.live(), works.proposed()) == (0, [1])
    works.policy(release={"promotion": "auto"})
    works.learn()
    assert (works.live(), works.proposed()) == (2, [])


def test_a_candidate_is_judged_again_when_something_else_went_live(works: Works) -> None:
    first = works.learn()
    works.launcher.started.clear()
    works.launcher.meanwhile = lambda: works.live() == 1 or works.promote(first)
    second = works.learn()
    assert works.launcher.started == [("run", 1), ("evaluate", 1)]
    assert works.judged_against(second) == 1
    folder = works.house.settings.runs / str(second.run_id)
    assert files.folder_sha256(folder / "baseline", adapters.CONTENT) == first.sha256


@pytest.mark.parametrize(
    "database_url", [pytest.param("postgresql", marks=pytest.mark.postgresql)], indirect=True
)  # SQLite has one writer at a time
def test_a_release_that_goes_live_at_the_last_moment_sends_the_candidate_round_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = Works(house)
    first = works.learn()
    works.policy(release={"promotion": "auto"})
    promote = releases.promote

    def too_late(*arguments: Any, **more: Any) -> Release:
        monkeypatch.undo()
        works.promote(first)
        return promote(*arguments, **more)

    monkeypatch.setattr(releases, "promote", too_late)
    second = works.learn()
    assert works.run(str(second.run_id)).attempt == 1
    assert works.launcher.started[-2:] == [("run", 1), ("evaluate", 1)]
    assert works.judged_against(second) == 1
    assert works.live() == second.number == 2


# ── freezing ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_long_freeze_keeps_the_lease(embedded: House, monkeypatch: pytest.MonkeyPatch) -> None:
    works = Works(embedded, lease_seconds=0.8)
    curate, claimed = datasets.curate, []

    def slowly(*arguments: Any) -> Any:
        for _ in range(20):
            time.sleep(0.1)
            claimed.append(runs.claim(embedded.database, "another", 60))
        return curate(*arguments)

    monkeypatch.setattr(datasets, "curate", slowly)
    works.learn()
    assert claimed == [None] * 20


def test_a_freeze_holds_no_snapshot_while_it_curates(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    curate, log = datasets.curate, Path(works.house.database.url.removeprefix("sqlite:///") + "-wal")

    def look(*arguments: Any) -> Any:
        assert log.stat().st_size > 0
        works.house.database.checkpoint()
        assert log.stat().st_size == 0, "a reader kept the log from being folded back"
        return curate(*arguments)

    monkeypatch.setattr(datasets, "curate", look)
    works.learn()


def stall(works: Works, run_id: str, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]) -> None:
    """Have the worker, in the middle of its freeze, sleep until its lease has run out."""
    curate = datasets.curate

    def stalled(*arguments: Any) -> Any:
        monkeypatch.undo()
        with works.house.database.write() as session:
            runs.get_run(session, run_id).lease_expires_at = now()
        meanwhile()
        return curate(*arguments)

    monkeypatch.setattr(datasets, "curate", stalled)


def test_a_worker_that_was_taken_over_while_it_froze_leaves_the_others_folder(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = works.request()
    theirs = works.house.settings.runs / run_id / "theirs"

    def take_over() -> None:
        assert runs.claim(works.house.database, "another", 60)
        files.write_bytes(theirs, b"frozen, about to be trained in")

    stall(works, run_id, monkeypatch, take_over)
    assert works.worker.work_once()
    assert theirs.exists()
    assert works.launcher.started == []
    left = works.run(run_id)
    assert (left.status, left.worker, left.error) == (RunStatus.RUNNING, "another", None)


def test_a_worker_that_was_taken_over_while_it_froze_replaces_no_training(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = works.request()
    another = Worker(works.house.settings, works.house.database, works.launcher)
    stall(works, run_id, monkeypatch, another.work_once)
    assert works.worker.work_once()
    assert works.launcher.started == [("run", 1)]
    assert (works.house.settings.runs / run_id / "attempt-1" / "adapter").exists()
    assert works.run(run_id).status == RunStatus.SUCCEEDED


# ── kills ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_next_attempt_goes_on_from_what_a_killed_one_left(works: Works) -> None:
    run_id = works.request()
    folder = works.house.settings.runs / run_id

    def leave_a_checkpoint() -> None:
        (attempt_folder(folder, 1) / "checkpoint").write_text("half way")

    def torn_by_an_earlier_kill() -> None:
        leave_a_checkpoint()
        (attempt_folder(folder, 2) / "checkpoints").mkdir(parents=True)

    works.launcher.command, works.launcher.meanwhile = KILLED, torn_by_an_earlier_kill
    assert works.worker.work_once()
    waiting = works.run(run_id)
    assert (waiting.status, waiting.attempt) == (RunStatus.QUEUED, 2)
    assert waiting.error == "The training process was killed by SIGKILL."
    assert not attempt_folder(folder, 1).exists()
    assert [path.name for path in attempt_folder(folder, 2).iterdir()] == ["checkpoint"]

    with works.house.database.write() as session:
        runs.get_run(session, run_id).not_before = now()
    works.launcher.command, works.launcher.meanwhile = "true", lambda: None
    assert works.worker.work_once()
    assert works.launcher.started == [("run", 1), ("run", 2)]
    assert works.run(run_id).status == RunStatus.SUCCEEDED


# ── asking for runs ──────────────────────────────────────────────────────────────────────────────────────────


def test_an_idle_worker_asks_for_what_became_due(works: Works) -> None:
    assert not works.worker.work_once()
    works.policy(training={"min_new_feedback": 8, "min_seconds_between_runs": 0})
    assert works.worker.work_once()
    assert not works.worker.work_once()


# ── the database goes away ───────────────────────────────────────────────────────────────────────────────────


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
    def refuse(*_: Any) -> None:
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
    assert events(logged)[:4] == ["worker ready", "database away", "database back", "run claimed"]
    assert logged[1]["error"] == "OperationalError"
