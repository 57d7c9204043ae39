"""A training process killed with SIGKILL, again and again, ends as if nothing had happened."""

import dataclasses
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from run_folders import QUICK, dpo_row, kto_row, sft_row

from feedback.files import file_sha256
from service.engines.adapter_format import TENSOR_FILE
from trainer import checkpoints
from trainer.methods import loop
from trainer.methods.stage import Stage
from trainer.progress import RunProgress

KILLS = 3
LONGEST_SECONDS = 0.4
STEPS = 9
ROWS = {"sft": sft_row, "dpo": dpo_row, "kto": kto_row}
LONG = QUICK.model_copy(
    update={"num_train_epochs": 3, "early_stopping_patience": 3, "preference_epochs": 3, "lora_dropout": 0.1}
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_stage(tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], Stage]:
    monkeypatch.setattr(loop, "MOST_OF_THE_TIME", 0.5)  # steps take milliseconds here

    def make(method: Any, name: str) -> Stage:
        folder = tmp_path / name / method
        folder.mkdir(parents=True)
        rows = [ROWS[method](number, "train") for number in range(24)]
        dev = [ROWS[method](number, "dev") for number in range(4)]
        progress = RunProgress(tmp_path / name / "metrics.json")
        return Stage(method, rows, dev, LONG, 3, str(tiny_base), "cpu", None, folder, progress, checkpoint_seconds=0)

    return make


def train(stage: Stage) -> None:
    """As a run does it."""
    if stage.final.is_dir():
        return
    with stage.progress.stage(stage.method):
        import_module(f"trainer.methods.{stage.method}").train(stage)


def in_a_process(stage: Stage, kill_after: float | None = None) -> int:
    """Train in a child; returns how it ended, as waitpid tells it.

    The kill comes so many seconds after it began a checkpoint that wasn't there before.
    """
    known = set(stage.folder.glob("checkpoint-*"))
    child = os.fork()
    if child == 0:
        train(dataclasses.replace(stage, progress=RunProgress(stage.progress.path)))
        os._exit(0)
    if kill_after is not None:
        while not stage.final.is_dir() and known >= set(stage.folder.glob("checkpoint-*")):
            time.sleep(0.002)
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


@pytest.mark.parametrize("method", ["sft", "dpo", "kto"])
def test_kills_at_any_moment_change_nothing(method: str, make_stage: Callable[[Any, str], Stage]) -> None:
    seed = int(os.environ.get("BURNISH_TEST_SEED") or random.randrange(2**31))
    print(f"BURNISH_TEST_SEED={seed}")
    chance = random.Random(seed)
    undisturbed, disturbed = make_stage(method, "undisturbed"), make_stage(method, "disturbed")
    train(undisturbed)
    for _ in range(KILLS):
        in_a_process(disturbed, LONGEST_SECONDS * chance.random() ** 2)  # many in the middle of a checkpoint
        assert len(list(disturbed.folder.glob("checkpoint-*"))) <= checkpoints.KEPT + 2
    assert in_a_process(disturbed) == 0
    assert file_sha256(disturbed.final / TENSOR_FILE) == file_sha256(undisturbed.final / TENSOR_FILE)
    ours, theirs = (RunProgress(stage.progress.path).data for stage in (disturbed, undisturbed))
    assert ours["loss_history"] == theirs["loss_history"]
    assert ours["trained_tokens"] == theirs["trained_tokens"]
    assert len(ours["loss_history"]) == 1 + STEPS  # dev is read before the first, too
