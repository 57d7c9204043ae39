"""Runs with one kill -9 each, of the worker or of the training process, at a random moment: all of them finish.

`make test` kills two runs on a tiny model; `make soak` kills ten. BURNISH_TEST_SEED repeats what a failure printed.
"""

import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from burnish_server import Deployment, deployment, eventually
from lessons import teach
from sqlmodel import select

from feedback import assistants, runs
from feedback.files import read_json
from feedback.models import AdapterVersion, Evaluation
from feedback.run_folder import attempt_folder
from feedback.states import RunStatus

LEASE_SECONDS = 3.0
VICTIMS = ("worker", "training process")
LONGEST_SECONDS = 12.0
"""About as long as an undisturbed run takes; a run that ends before its kill says it better."""


@pytest.mark.parametrize(
    "count", [pytest.param(2, id="2 runs"), pytest.param(10, id="10 runs", marks=pytest.mark.slow)]
)
def test_every_killed_run_finishes(tmp_path: Path, tiny_base: Path, count: int) -> None:
    """Kills hit open runs at any step from the claim to the evaluation.

    Each run succeeds and registers one version; a dead worker's run goes on in the same attempt, a killed training
    process costs one; never do two training processes work in one folder.
    """
    seed = int(os.environ.get("BURNISH_TEST_SEED") or random.randrange(2**31))
    print(f"BURNISH_TEST_SEED={seed}")
    chance = random.Random(seed)
    victims = [*chance.sample(VICTIMS, 2), *chance.choices(VICTIMS, k=count - 2)]
    longest = LONGEST_SECONDS
    requested: list[str] = []
    with deployment(tmp_path, base_model=str(tiny_base), lease_seconds=LEASE_SECONDS, queue_poll_seconds=0.2) as house:
        teach(house)
        house.start_worker()
        eventually(lambda: "worker ready" in (tmp_path / "worker.log").read_text(), "the worker is ready")
        with Watch(house.settings.runs) as watch:
            while victims:
                # squared: the short steps at the start get their share
                moment = longest * chance.random() ** 2
                began = time.monotonic()
                run_id, hit = kill_one(house, watch, victims[0], moment)
                requested.append(run_id)
                if hit:
                    victims.pop(0)
                else:
                    longest = time.monotonic() - began
                    assert len(requested) < 2 * count, "too many runs ended before their kill"
        assert house.stop_worker() == 0
        with house.database.read() as session:
            versions = session.exec(select(AdapterVersion).where(AdapterVersion.number > 0)).all()
            evaluations = session.exec(select(Evaluation)).all()
    assert sorted(version.run_id or "" for version in versions) == sorted(requested)
    assert sorted(evaluation.run_id for evaluation in evaluations) == sorted(requested)
    assert watch.most == Counter(requested), "each run is worked on by one process at a time"


def kill_one(house: Deployment, watch: "Watch", victim: str, moment: float) -> tuple[str, bool]:
    """Request a run and kill so many seconds later; returns its id and whether the kill hit it while it was open."""
    with house.database.write() as session:
        run_id = runs.request(session, assistants.get_assistant(session, "support"), "a test", actor="test").id
    time.sleep(moment)
    if victim == "worker":
        house.kill_worker()
        step = step_of(house, run_id)
        hit = house.ended_run(run_id) is None
        house.start_worker()
        orphans = f"the training process of {run_id} dies with its worker"
        eventually(lambda: not watch.processes(run_id), orphans, seconds=LEASE_SECONDS)
    else:
        eventually(lambda: watch.processes(run_id) or house.ended_run(run_id), "training begins")
        step = step_of(house, run_id)
        hit = any(watch.kill(process) for process in watch.processes(run_id))
    print(f"{run_id}: {victim} {'killed' if hit else 'missed'} after {moment:.1f} s, at step {step}")
    run = eventually(lambda: house.ended_run(run_id), f"{run_id} ends", seconds=180)
    assert run.status == RunStatus.SUCCEEDED, run.error
    counts = victim == "training process" or step == "freeze"
    assert run.attempt == (2 if hit and counts else 1), run.attempt
    return run_id, hit


def step_of(house: Deployment, run_id: str) -> str:
    """Where the run stands, for whoever reads a failure."""
    with house.database.read() as session:
        run = runs.get_run(session, run_id)
    if run.status != RunStatus.RUNNING:
        return run.status
    if run.dataset_version_id is None:
        return "freeze"
    metrics = attempt_folder(house.settings.runs / run_id, run.attempt) / "metrics.json"
    return str(read_json(metrics)["stage"]) if metrics.exists() else "load"


class Watch:
    """Looks all the time, in a thread, at who trains or evaluates in the runs' folders; engines aren't counted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._errors: list[Exception] = []
        self.most: Counter[str] = Counter()
        """The most processes seen at once, by run."""

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        assert self._errors == []

    def processes(self, run_id: str) -> list[int]:
        return self._all().get(run_id, [])

    @staticmethod
    def kill(process: int) -> bool:
        """False when it has ended by itself."""
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def _look(self) -> None:
        try:
            while not self._stopping.wait(0.02):
                self.most |= Counter({run_id: len(found) for run_id, found in self._all().items()})
        except Exception as error:
            self._errors.append(error)

    def _all(self) -> dict[str, list[int]]:
        """Process ids of `python -m trainer run|evaluate <folder>` by run.

        A process that such a one has just forked has its command until it becomes a program of its own.
        """
        found: dict[str, list[int]] = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                command = Path("/proc", entry, "cmdline").read_bytes().decode(errors="replace").split("\0")
                parent = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[1]
                of_parent = Path("/proc", parent, "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if "trainer" in command and command != of_parent:
                for folder in (Path(word) for word in command if Path(word).parent == self._folder):
                    found.setdefault(folder.name, []).append(int(entry))
        return found
