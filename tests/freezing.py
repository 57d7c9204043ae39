"""Datasets frozen, recorded and learned in a house, and what receipts tell of it."""

import hashlib
import json
from itertools import count
from pathlib import Path
from typing import Any

from feedback import adapters, assistants, datasets, review, runs
from feedback.collect import receipts
from feedback.contributors import contributor_id, side_of
from feedback.datasets import Frozen
from feedback.models import AdapterVersion
from feedback.run_folder import RunSpec, Split
from feedback.runs import Claim
from feedback.states import FeedbackStatus, Side
from feedback.testing import SECRET, House

SUITES = {"general.txt": b"Some text.\n\nMore text."}


def person(house: House, side: Side, number: int = 0) -> str:
    """The `number`th user whose rows all go to `side`."""
    policy = assistants.policies(house.reload()).training
    fitting = (
        user
        for user in (f"user-{index}" for index in count())
        if side_of(contributor_id(SECRET, house.assistant.id, house.caller.api_key_id, user), policy) == side
    )
    return next(user for index, user in enumerate(fitting) if index == number)


def claim(house: House) -> Claim:
    with house.database.write() as session:
        runs.request(session, house.assistant, "a test", actor="test")
    held = runs.claim(house.database, "test", 60)
    assert held is not None
    return held


def freeze(house: House, run_id: str, baseline: Path | None = None, **fence: Any) -> tuple[Path, Frozen]:
    folder = house.settings.runs / run_id
    policies = assistants.policies(house.reload())

    def spec(frozen: Frozen, hashes: dict[str, str]) -> RunSpec:
        return RunSpec(
            run_id=run_id,
            assistant=house.name,
            base_model=house.assistant.base_model,
            baseline_version="base",
            methods=frozen.curated.methods,
            hyperparameters=policies.hyperparameters,
            verdict=policies.verdict,
            seed=1,
            dataset_sha256=frozen.sha256,
            files=hashes,
        )

    with house.database.read() as session:
        material = datasets.gather_material(session, house.reload())
    return folder, datasets.freeze(material, folder, SUITES, baseline, spec, **fence)


def rows_in(folder: Path, split: Split) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_bytes().splitlines()]


def record(house: House, held: Claim, frozen: Frozen) -> int:
    datasets.tell_givers(house.database, frozen.curated)
    with house.database.write() as session:
        run = runs.get_run(session, held.run_id)
        return datasets.record(session, house.assistant, run, frozen).number


def register(house: House, held: Claim) -> AdapterVersion:
    with house.database.write() as session:
        sha256 = hashlib.sha256(held.run_id.encode()).hexdigest()
        version = adapters.register(session, house.assistant, sha256, held.run_id)
        runs.finish(session, held)
    return version


def learn(house: House) -> AdapterVersion:
    """A whole run, but for the training."""
    held = claim(house)
    record(house, held, freeze(house, held.run_id)[1])
    return register(house, held)


def told(house: House, receipt: str) -> tuple[str, str]:
    with house.database.read() as session:
        found = receipts.look_up(session, receipt)
    return found.status, found.detail


def status_of(house: House, public_id: str) -> FeedbackStatus:
    with house.database.read() as session:
        return review.get_feedback(session, public_id).status
