"""Runs with one kill -9 each, of the worker or of the training process, at a random moment: all of them finish.

`make test` kills two runs on a tiny model; `make soak` kills ten.
"""

import os
import random
import subprocess
import time
from pathlib import Path

import pytest
from burnish_server import Deployment, deployment, eventually
from sqlmodel import select
from tiny import WORDS

from feedback import assistants, runs
from feedback.models import AdapterVersion, Evaluation, Run
from feedback.states import RunStatus
from feedback.testing import House

LEASE_SECONDS = 3.0
VICTIMS = ("worker", "training process")


@pytest.mark.parametrize(
    "count", [pytest.param(2, id="2 runs"), pytest.param(10, id="10 runs", marks=pytest.mark.slow)]
)
def test_every_killed_run_finishes(tmp_path: Path, tiny_base: Path, count: int) -> None:
    chance = random.Random(int(os.environ.get("BURNISH_TEST_SEED", "11")))
    with deployment(tmp_path, base_model=str(tiny_base), lease_seconds=LEASE_SECONDS, queue_poll_seconds=0.2) as house:
        teach(house)
        for number in range(count):
            victim = VICTIMS[number] if number < len(VICTIMS) else chance.choice(VICTIMS)
            kill_one(house, victim, chance)
        with house.database.read() as session:
            versions = session.exec(select(AdapterVersion).where(AdapterVersion.number > 0)).all()
            assert len(versions) == len({version.run_id for version in versions}) == count
            assert len(session.exec(select(Evaluation)).all()) == count


def kill_one(house: Deployment, victim: str, chance: random.Random) -> None:
    house.start_worker()
    with house.database.write() as session:
        run = runs.request(session, assistants.get_assistant(session, "support"), "a test", actor="test")
    folder = house.settings.runs / run.id
    trainer = eventually(lambda: training_processes(folder), "training begins")[0]
    time.sleep(chance.uniform(0, 12))
    assert len(training_processes(folder)) <= 1
    if victim == "worker":
        house.kill_worker()
        eventually(lambda: not training_processes(folder), "the training process dies with its worker", seconds=5)
        house.start_worker()
    elif trainer in training_processes(folder):
        subprocess.run(["kill", "-9", str(trainer)], check=True)
    most = 0

    def ended() -> Run | None:
        nonlocal most
        most = max(most, len(training_processes(folder)))
        return house.ended_run(run.id)

    done = eventually(ended, "the run ends", seconds=180)
    assert most <= 1, "two training processes in one folder"
    assert done.status == RunStatus.SUCCEEDED, done.error
    if victim == "worker":
        assert done.attempt == 1, "a takeover is no failed attempt"
    house.stop_worker()


def training_processes(folder: Path) -> list[int]:
    """Process ids of `python -m trainer run|evaluate <folder>`, engines not counted."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if "trainer" in command and str(folder) in command:
                found.append(int(entry.name))
    return found


def teach(house: Deployment) -> None:
    """Corrections by twelve people, in the tiny model's words, straight into the database."""
    with house.database.write() as session:
        assistant = assistants.get_assistant(session, "support")
        changes = {
            "training": {"min_new_feedback": 10_000, "near_duplicate_similarity": 1.0},
            "hyperparameters": {"num_train_epochs": 20, "early_stopping_patience": 20},
        }
        assistants.set_policies(session, assistant, changes, actor="test")
    people = House(house.settings, house.database, "support")
    for number, word in enumerate(WORDS[1:]):
        for person in range(3):
            question = f"where is the {word} key ? {person}"
            people.correct(question, "what ?", f"the {word} key is in box {number} .", user=f"person-{number}-{person}")
