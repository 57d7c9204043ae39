"""Two processes train one model on a CPU: as one would, and one of them writes; they end with whoever started them."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from run_folders import QUICK, make_run_folder

from feedback.errors import RunFailedForGood
from feedback.files import read_json
from trainer import ranks
from trainer.failures import FOR_GOOD
from trainer.inputs import read_run
from trainer.progress import RunProgress
from trainer.training import Place, train

REPOSITORY = Path(__file__).parents[2]
TWO_EPOCHS = QUICK.model_copy(update={"num_train_epochs": 2, "preference_epochs": 2, "replay_fraction": 0.0})


def start(folder: Path) -> subprocess.Popen[str]:
    words = ["-m", "trainer", "run", str(folder), "--device", "cpu", "--processes", "2"]
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.nice(5),  # or it would wait for everybody else
    )


def at_work(folder: Path) -> list[int]:
    """Ids of the processes that name the folder, but for zombies."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(folder).encode() in words:
            found.append(int(process.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel doesn't end the ranks")
def test_two_processes_learn_what_one_learns_and_die_together(tmp_path: Path, tiny_base: Path) -> None:
    methods = ["sft", "dpo", "kto"]
    two, one = (make_run_folder(tmp_path, tiny_base, methods, TWO_EPOCHS, rows=16, name=name) for name in ("2", "1"))
    launcher = start(two)
    attempt = two / "attempt-1"
    seen: Counter[int] = Counter()
    while not (attempt / "checkpoints" / "kto" / "final").is_dir():
        assert launcher.poll() is None, launcher.stderr and launcher.stderr.read()
        seen[len(at_work(two))] += 1
        time.sleep(0.02)
    lasting = max(
        count for count, times in seen.items() if times > 3
    )  # what is just being forked looks like its parent
    assert lasting == 3  # the launcher and its two
    launcher.send_signal(signal.SIGKILL)  # as a worker does when its run is cancelled
    launcher.wait()
    deadline = time.monotonic() + 30
    while at_work(two):
        assert time.monotonic() < deadline, "a rank outlives its launcher"
        time.sleep(0.05)

    spec, splits = read_run(one)
    alone = RunProgress(one / "metrics.json")
    train(spec, splits, Place(one, 1, one, "cpu", "auto"), alone)
    together = read_json(attempt / "metrics.json")
    steps = [(entry["stage"], entry["step"]) for entry in alone.data["loss_history"]]
    assert [(entry["stage"], entry["step"]) for entry in together["loss_history"]] == steps
    for kind in ("loss", "dev_loss"):
        ours, theirs = (
            [entry[kind] for entry in metrics["loss_history"] if entry[kind] is not None]
            for metrics in (together, alone.data)
        )
        assert ours == pytest.approx(theirs, rel=0.01, abs=0.01)
    assert together["trained_tokens"] == alone.data["trained_tokens"]


def test_a_failure_for_good_is_told_by_the_launcher_as_by_a_single_process(tmp_path: Path, tiny_base: Path) -> None:
    folder = make_run_folder(
        tmp_path, tiny_base, ["sft"], TWO_EPOCHS.model_copy(update={"learning_rate": 1e30, "num_train_epochs": 8})
    )
    launcher = start(folder)
    _, said = launcher.communicate(timeout=240)
    assert launcher.returncode == FOR_GOOD, said
    assert said.splitlines()[-1].startswith("error: sft: at step ")


def test_fsdp_is_refused_with_what_to_do_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(RunFailedForGood, match=r"FSDP isn't supported.*several_gpus.yaml.*load_in_4bit"):
        ranks.take_place("cpu")
