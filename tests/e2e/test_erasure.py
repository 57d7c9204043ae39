"""What somebody said in a whole loop (chat, corrections, training, evaluation, export) is nowhere on disk afterwards.

Everybody is killed meanwhile: the command in the middle of its files, the worker and the service as they go on.
"""

import json
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from burnish_server import BURNISH, Deployment, deployment, eventually
from lessons import teach
from remains import files_with, tables_with
from sqlmodel import col, select

from feedback import assistants, files, keys, runs
from feedback.contributors import contributor_id, side_of
from feedback.folder_lock import folder_lock
from feedback.models import AdapterVersion, Erasure
from feedback.states import ErasureState, RunStatus, Side
from feedback.testing import SECRET

WORD = "Zanzibarquux"


@pytest.fixture
def house(tmp_path: Path, tiny_base: Path) -> Iterator[Deployment]:
    with deployment(tmp_path, base_model=str(tiny_base), lease_seconds=3.0, queue_poll_seconds=0.2) as made:
        teach(made, num_train_epochs=1)
        yield made.start()


def people(house: Deployment) -> list[str]:
    """Two whose words are trained on, and one whose words judge."""
    with house.database.read() as session:
        assistant = assistants.get_assistant(session, "support")
        key = keys.authenticate(session, house.admin).api_key_id
    policy = assistants.policies(assistant).training
    by_side: dict[Side, list[str]] = {side: [] for side in Side}
    for name in (f"ada-{number}" for number in range(100)):
        by_side[side_of(contributor_id(SECRET, assistant.id, key, name), policy)].append(name)
    return [*by_side[Side.TRAIN][:2], by_side[Side.GATE][0]]


def say_it(house: Deployment, person: str) -> None:
    asked = house.ask(f"where is the {WORD} key ? {person}", user=person)
    value = {"content": f"the {WORD} key is with {person} .", "key_facts": [WORD]}
    assert house.give(asked["id"], "correction", value, comment=f"{WORD}!", user=person).status_code == 201


def learn_it(house: Deployment) -> Path:
    with house.database.write() as session:
        run_id = runs.request(session, assistants.get_assistant(session, "support"), "a test", actor="test").id
    house.start_worker()
    run = eventually(lambda: house.ended_run(run_id), "the run ends", seconds=120)
    assert run.status == RunStatus.SUCCEEDED, run.error
    return house.settings.runs / run_id


def state(house: Deployment) -> set[ErasureState]:
    with house.database.read() as session:
        return {one.state for one in session.exec(select(Erasure))}


def test_an_erased_word_is_nowhere_on_disk(house: Deployment) -> None:
    chance = random.Random(11)
    names = people(house)
    for name in names:
        say_it(house, name)
    folder = learn_it(house)
    exported = house.settings.data_folder / "exports" / "out.jsonl"
    exported.parent.mkdir()
    assert house.burnish("feedback", "export", "support", "--out", str(exported)).returncode == 0
    held = files_with(house.settings.data_folder, WORD)
    attempt = f"runs/{folder.name}/attempt-1"
    sides = [f"runs/{folder.name}/{side}.jsonl" for side in ("train", "gate")]
    assert {*sides, f"{attempt}/evaluation.json", f"{attempt}/report.md", "exports/out.jsonl"} <= set(held)
    house.kill_worker()

    # two are erased by a command each, which somebody at work in the folder holds up and a kill ends
    with folder_lock(folder):
        for number, name in enumerate(names[:2], 1):
            command = [str(BURNISH), "erase", "support", "--user", name, "--yes"]
            erasing = subprocess.Popen(command, env=house.environment, stdout=subprocess.DEVNULL)
            eventually(lambda number=number: len(erased(house)) == number, "the rows are gone")
            erasing.kill()
            erasing.wait()
    assert state(house) == {ErasureState.ROWS_GONE}
    # the last one by the service, which is then killed
    answer = house.http.post("/v1/assistants/support/erasures", json={"user": names[2]})
    assert (answer.status_code, answer.json()["erasure"]["state"]) == (200, "rows_gone")
    house.kill()
    assert tables_with(house.database, WORD) == []
    # as a kill in the middle of writing would have left it
    files.write_bytes(folder / ".train.jsonl.0123abcd", WORD.encode())
    files.write_bytes(folder.with_name(f".{folder.name}.0123abcd") / "gate.jsonl", WORD.encode())

    for _ in range(runs.MAX_ATTEMPTS - 1):  # each may end an attempt of the run that learns anew
        house.start_worker()
        time.sleep(chance.uniform(0.5, 2.0))
        house.kill_worker()
    house.start()
    house.start_worker()
    eventually(lambda: state(house) == {ErasureState.COMPLETE}, "the erasures are complete", seconds=90)
    assert files_with(house.settings.data_folder, WORD) == []
    assert files_with(folder, "garnet"), "others' words stay"

    verified = house.burnish("dataset", "verify", "support", "1", "--json")
    told = json.loads(verified.stdout)
    assert (told["erased"] >= 3, told["to_erase"], told["rows"] > 30) == (True, 0, True)
    assert_learned_anew(house)


def erased(house: Deployment) -> list[Erasure]:
    with house.database.read() as session:
        return list(session.exec(select(Erasure)))


def assert_learned_anew(house: Deployment) -> None:
    """The run that the first erasure queued makes a version that nothing taints."""

    def untainted() -> bool:
        with house.database.read() as session:
            found = session.exec(
                select(AdapterVersion).where(AdapterVersion.number > 0, col(AdapterVersion.tainted_at).is_(None))
            )
            return found.first() is not None

    eventually(untainted, "a version from what is left", seconds=120)
    assert files_with(house.settings.data_folder, WORD) == []
