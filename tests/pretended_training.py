"""A worker in a house with lessons, whose training processes only pretend, and whose database can go away."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from burnish_server import write_adapter
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, select

from feedback import adapters, assistants, files, releases, runs
from feedback.database import Database
from feedback.models import AdapterVersion, Evaluation, Release, Run
from feedback.processes import TrainerTask
from feedback.run_folder import RunSpec, attempt_folder
from feedback.states import GuardOutcome, ReleaseState, RunStatus
from feedback.testing import House
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
        guards=[
            record.GuardResult(name=name, outcome=GuardOutcome.PASSED, detail="fine")
            for name in spec.verdict.required_guards
        ],
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

    def request(self, **how: Any) -> str:
        with self.house.database.write() as session:
            return runs.request(session, self.house.reload(), "a test", actor="test", **how).id

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

    def roll_back(self) -> None:
        with self.house.database.write() as session:
            releases.roll_back(session, self.house.reload(), actor="test", reason="a test")

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
