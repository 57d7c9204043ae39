"""A training process that is killed again and again, or meets a full disk, ends as if nothing had happened."""

import os
import random
import re
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import killable
import pytest
from run_folders import dpo_row, kto_row, sft_row

from feedback.errors import DiskFull
from feedback.files import file_sha256, read_json
from service.engines.adapter_format import TENSOR_FILE
from trainer import checkpoints
from trainer.failures import DISK_FULL, require_room
from trainer.methods import loop

KILLS = 3
LONGEST_SECONDS = 0.4
STEPS = 9
SMALL_FILE_BYTES = 32_000
"""Above what a run notes, below what AdamW's moments take."""
ROWS = {"sft": sft_row, "dpo": dpo_row, "kto": kto_row}
LONG = {"num_train_epochs": 3, "early_stopping_patience": 3, "preference_epochs": 3, "lora_dropout": 0.1}


class Training:
    """One stage's training, in one process after the other."""

    def __init__(self, folder: Path, base: Path, method: Any) -> None:
        rows, dev = (
            [ROWS[method](number, side) for number in range(count)] for side, count in (("train", 24), ("dev", 4))
        )
        self.folder = folder
        self.stage = folder / "checkpoints" / method
        self._start = partial(killable.start, folder, base, method, rows, dev, checkpoint_seconds=0, **LONG)

    def run(self, kill_after: float | None = None, **how: Any) -> int | None:
        """Until it ends, or so many seconds after it began a checkpoint that wasn't there before; its exit status."""
        known = set(self.stage.glob("checkpoint-*"))
        child = self._start(**how)
        if kill_after is not None:
            while child.is_alive() and known >= set(self.stage.glob("checkpoint-*")):
                time.sleep(0.002)
            time.sleep(kill_after)
            child.kill()
        child.join()
        return child.exitcode

    def result(self) -> tuple[str, list[Any], int]:
        metrics = read_json(self.folder / "metrics.json")
        steps = [{name: value for name, value in one.items() if name != "at"} for one in metrics["loss_history"]]
        return file_sha256(self.stage / "final" / TENSOR_FILE), steps, metrics["trained_tokens"]


@pytest.mark.parametrize("method", ["sft", "dpo", "kto"])
def test_kills_at_any_moment_change_nothing(tmp_path: Path, tiny_base: Path, method: str) -> None:
    seed = int(os.environ.get("BURNISH_TEST_SEED") or random.randrange(2**31))
    print(f"BURNISH_TEST_SEED={seed}")
    chance = random.Random(seed)
    undisturbed, disturbed = (Training(tmp_path / name, tiny_base, method) for name in ("undisturbed", "disturbed"))
    assert undisturbed.run() == 0
    for _ in range(KILLS):
        disturbed.run(LONGEST_SECONDS * chance.random() ** 2)  # many in the middle of a checkpoint
        assert len(list(disturbed.stage.glob("checkpoint-*"))) <= checkpoints.KEPT + 2
    assert disturbed.run() == 0
    assert disturbed.result() == undisturbed.result()
    assert len(disturbed.result()[1]) == 1 + STEPS  # dev is read before the first, too


def test_a_full_disk_is_told_and_the_run_goes_on_later(tmp_path: Path, tiny_base: Path) -> None:
    undisturbed, disturbed = (Training(tmp_path / name, tiny_base, "sft") for name in ("undisturbed", "disturbed"))
    assert undisturbed.run() == 0
    while not checkpoints.latest_whole(disturbed.stage):
        assert disturbed.run(kill_after=0.1) == -signal.SIGKILL
    before = checkpoints.latest_whole(disturbed.stage)
    assert disturbed.run(largest_file_bytes=SMALL_FILE_BYTES) == DISK_FULL
    told = (disturbed.folder / "error.txt").read_text()
    assert re.match(r"The disk is full: \S+/checkpoint-\d+/\S+ couldn't be written, \d+ MiB are free there. Free", told)
    assert checkpoints.latest_whole(disturbed.stage) == before
    assert disturbed.run() == 0
    assert disturbed.result() == undisturbed.result()


def test_a_run_that_cannot_fit_is_refused_with_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(DiskFull, match=r"need up to 1073741824 MiB, \d+ MiB are free in"):
        require_room(tmp_path, 2**50)
    assert loop.room_bytes(5_000_000) < 2**30
