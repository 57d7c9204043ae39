"""A training process that is killed again and again, or meets a full disk, ends as if nothing had happened."""

import dataclasses
import os
import random
import re
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from run_folders import dpo_row, kto_row, make_stage, sft_row, train

from feedback.errors import DiskFull
from feedback.files import file_sha256, write_bytes
from service.engines.adapter_format import TENSOR_FILE
from trainer import checkpoints
from trainer.failures import DISK_FULL, disk_watched, exit_status, require_room
from trainer.methods import loop
from trainer.methods.stage import Stage
from trainer.progress import RunProgress

KILLS = 2
LONGEST_SECONDS = 0.4
STEPS = 9
SMALL_FILE_BYTES = 32_000
"""Above what a run notes, below what AdamW's moments take."""
ROWS = {"sft": sft_row, "dpo": dpo_row, "kto": kto_row}
LONG = {"num_train_epochs": 3, "early_stopping_patience": 3, "preference_epochs": 3, "lora_dropout": 0.1}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make(tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], Stage]:
    monkeypatch.setattr(loop, "MOST_OF_THE_TIME", 0.5)  # steps take milliseconds here

    def make(method: Any, name: str) -> Stage:
        rows = [ROWS[method](number, "train") for number in range(24)]
        dev = [ROWS[method](number, "dev") for number in range(4)]
        return make_stage(tmp_path / name, tiny_base, method, rows, dev, checkpoint_seconds=0, **LONG)

    return make


def in_a_process(stage: Stage, kill_after: float | None = None, largest_file_bytes: int | None = None) -> int:
    """Train in a child; returns its exit status, or the signal that ended it, negative.

    The kill comes so many seconds after it began a checkpoint that wasn't there before.
    """
    known = set(stage.folder.glob("checkpoint-*"))
    child = os.fork()
    if child == 0:
        in_the_child(stage, largest_file_bytes)
    if kill_after is not None:
        while known >= set(stage.folder.glob("checkpoint-*")):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def in_the_child(stage: Stage, largest_file_bytes: int | None) -> NoReturn:
    status = 1
    try:
        if largest_file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file_bytes, largest_file_bytes))
        with disk_watched(stage.progress.path.parent):
            train(dataclasses.replace(stage, progress=RunProgress(stage.progress.path)))
        status = 0
    except BaseException as error:
        status = exit_status(error)
        write_bytes(stage.folder / "error.txt", str(error).encode())
    finally:
        os._exit(status)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sft", "dpo", "kto"])
def test_kills_at_any_moment_change_nothing(method: str, make: Callable[[Any, str], Stage]) -> None:
    seed = int(os.environ.get("BURNISH_TEST_SEED") or random.randrange(2**31))
    print(f"BURNISH_TEST_SEED={seed}")
    chance = random.Random(seed)
    undisturbed, disturbed = make(method, "undisturbed"), make(method, "disturbed")
    train(undisturbed)
    for _ in range(KILLS):
        in_a_process(disturbed, LONGEST_SECONDS * chance.random() ** 2)  # many in the middle of a checkpoint
        assert len(list(disturbed.folder.glob("checkpoint-*"))) <= checkpoints.KEPT + 2
    assert in_a_process(disturbed) == 0
    assert file_sha256(disturbed.final / TENSOR_FILE) == file_sha256(undisturbed.final / TENSOR_FILE)
    ours, theirs = (RunProgress(stage.progress.path).data for stage in (disturbed, undisturbed))
    for entry in [*ours["loss_history"], *theirs["loss_history"]]:
        del entry["at"]
    assert ours["loss_history"] == theirs["loss_history"]
    assert ours["trained_tokens"] == theirs["trained_tokens"]
    assert len(ours["loss_history"]) == 1 + STEPS  # dev is read before the first, too


@pytest.mark.slow
def test_a_full_disk_is_told_and_the_run_goes_on_later(make: Callable[[Any, str], Stage]) -> None:
    undisturbed, disturbed = make("sft", "undisturbed"), make("sft", "disturbed")
    train(undisturbed)
    while not checkpoints.latest_whole(disturbed.folder):
        assert in_a_process(disturbed, kill_after=0.1) == -signal.SIGKILL
    before = checkpoints.latest_whole(disturbed.folder)
    assert in_a_process(disturbed, largest_file_bytes=SMALL_FILE_BYTES) == DISK_FULL
    told = (disturbed.folder / "error.txt").read_text()
    assert re.match(r"The disk is full: \S+/checkpoint-\d+/\S+ couldn't be written, \d+ MiB are free there. Free", told)
    assert checkpoints.latest_whole(disturbed.folder) == before
    assert in_a_process(disturbed) == 0
    assert file_sha256(disturbed.final / TENSOR_FILE) == file_sha256(undisturbed.final / TENSOR_FILE)


def test_a_run_that_cannot_fit_is_refused_with_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(DiskFull, match=r"need up to 1073741824 MiB, \d+ MiB are free in"):
        require_room(tmp_path, 2**50)
    assert loop.room_bytes(5_000_000) < 2**30
