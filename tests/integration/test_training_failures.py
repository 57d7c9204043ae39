"""Runs that can't end well: a loss that explodes, nothing learned, no memory; each says so, once."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pretended_training import KILLED, Works
from run_folders import QUICK, dpo_row, make_run_folder, make_stage, sft_row, train, turn
from tiny import WORDS

from feedback import files, runs
from feedback.columns import now
from feedback.errors import OutOfMemory, RunFailedForGood
from feedback.files import read_json
from feedback.hyperparameters import Hyperparameters
from feedback.run_folder import Row, attempt_folder
from feedback.states import RunStatus
from trainer import worker
from trainer.failures import DISK_FULL, FOR_GOOD, OUT_OF_MEMORY, oom_kills
from trainer.inputs import read_run
from trainer.methods.guard import require_sound
from trainer.progress import RunProgress
from trainer.training import Place, _memory_watched
from trainer.training import train as train_all

pytestmark = pytest.mark.usefixtures("one_thread")


FEW = [sft_row(number, "train") for number in range(8)]


# ── a loss that isn't one ────────────────────────────────────────────────────────────────────────────────────


def test_a_loss_that_is_no_number_stops_the_run_and_says_what_to_try(tmp_path: Path, tiny_base: Path) -> None:
    stage = make_stage(tmp_path / "run", tiny_base, "sft", FEW * 4, learning_rate=1e30, num_train_epochs=8)
    said = (
        r"sft: at step \d+ the loss is .* not finite\. hyperparameters.learning_rate is 1e\+30: try a tenth "
        r"\(`burnish assistant set ASSISTANT hyperparameters.learning_rate=1e\+29`\)"
    )
    with pytest.raises(RunFailedForGood, match=said):
        train(stage)
    assert not stage.final.exists()
    history = read_json(tmp_path / "run" / "metrics.json")["loss_history"]
    assert 0 < len(history) < 32


@pytest.mark.parametrize(("name", "said"), [("loss", "its loss has been more than 3"), ("grad_norm", "more than 10")])
def test_a_loss_that_explodes_stops_the_run(name: str, said: str) -> None:
    calm = [{"step": step, "loss": 2.0 - step / 100, "grad_norm": 1.0} for step in range(60)]
    wild = [{"step": 60 + step, "loss": 2.0, "grad_norm": 1.0} | {name: 20.0} for step in range(10)]
    require_sound("dpo", calm + wild[:9], Hyperparameters())
    require_sound("dpo", calm + wild[:9] + calm[-1:] + wild[:9], Hyperparameters())
    with pytest.raises(RunFailedForGood, match=rf"dpo: at step 69 .*{said}.*preference_learning_rate=1e-05"):
        require_sound("dpo", calm + wild, Hyperparameters())


# ── nothing learned ──────────────────────────────────────────────────────────────────────────────────────────


def blind_base(base: Path, folder: Path) -> Path:
    """The tiny base with a head of zeros: whatever it reads, no weight can change what it says."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def test_zero_gradients_are_no_training(tmp_path: Path, tiny_base: Path) -> None:
    base = blind_base(tiny_base, tmp_path / "base")
    with pytest.raises(RunFailedForGood, match="training taught nothing: every gradient was zero"):
        train(make_stage(tmp_path / "run", base, "sft", FEW))
    with pytest.raises(RunFailedForGood, match="every gradient of its first 20 steps was zero"):
        train(make_stage(tmp_path / "long", base, "sft", FEW, num_train_epochs=40))


@pytest.mark.parametrize(
    ("learning_rate", "said"), [(1e-50, "no weight of the adapter moved"), (1e-20, "it says what the base says")]
)
def test_an_adapter_that_changes_nothing_is_none(
    tmp_path: Path, tiny_base: Path, learning_rate: float, said: str
) -> None:
    stage = make_stage(tmp_path / "run", tiny_base, "sft", FEW, learning_rate=learning_rate, num_train_epochs=1)
    with pytest.raises(RunFailedForGood, match=f"taught nothing: .*{said}"):
        train(stage)
    assert not stage.final.exists()


def test_preferences_that_move_nothing_are_found_out_beside_what_was_learned_before(
    tmp_path: Path, tiny_base: Path
) -> None:
    taught = make_stage(tmp_path / "taught", tiny_base, "sft", FEW, num_train_epochs=1)
    train(taught)
    pairs = [dpo_row(number, "train") for number in range(8)]
    how = {"start": taught.final, "preference_learning_rate": 1e-50}
    with pytest.raises(RunFailedForGood, match="dpo: training taught nothing: no weight of the adapter moved"):
        train(make_stage(tmp_path / "preferred", tiny_base, "dpo", pairs, **how))


# ── memory ───────────────────────────────────────────────────────────────────────────────────────────────────


def long_row(number: int, split: str) -> Row:
    words = " ".join(WORDS[(number + index * index) % 11] for index in range(200))
    return sft_row(number, split).model_copy(update={"completion": turn("assistant", words)})


ROOM_BYTES = 1450 << 20
"""Beyond what the libraries take: half of 4096 such rows fit into it (1.2 GB), all of them don't (1.8 GB)."""
TIGHT = """
import re, resource, sys
import datasets, peft, torch, trl.trainer.sft_trainer
from trainer.__main__ import main

size = int(re.search(r"VmSize:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (size + int(sys.argv[1]),) * 2)
sys.exit(main(sys.argv[2:]))
"""


def start_tight(folder: Path, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", TIGHT, str(ROOM_BYTES), "run", str(folder), "--device", "cpu"],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: os.nice(5),  # or it would wait for everybody else
    )


@pytest.mark.slow
def test_a_rank_of_another_launcher_notes_that_memory_ran_out(tmp_path: Path, tiny_base: Path) -> None:
    """Whoever starts torchrun or accelerate again goes on with half."""
    hyperparameters = QUICK.model_copy(update={"per_device_train_batch_size": 4096, "replay_fraction": 0.0})
    folder = make_run_folder(tmp_path, tiny_base, ["sft"], hyperparameters, rows=4096, builders={"sft": long_row})
    child = start_tight(folder, RANK="0", WORLD_SIZE="1")
    said = (child.communicate()[1] or b"").decode()
    assert child.returncode == OUT_OF_MEMORY, said
    assert "memory ran out with 4096 rows at once" in said
    assert len(read_json(folder / "attempt-1" / "metrics.json")["out_of_memory"]) == 1


@pytest.mark.slow
def test_memory_that_runs_out_halves_the_rows_at_once(tmp_path: Path, tiny_base: Path) -> None:
    """The losses are those of a run with room: the optimizer's batch is the same."""
    hyperparameters = QUICK.model_copy(
        update={"per_device_train_batch_size": 4096, "num_train_epochs": 2, "replay_fraction": 0.0}
    )
    builders = {"sft": long_row}
    tight, roomy = (
        make_run_folder(tmp_path, tiny_base, ["sft"], hyperparameters, name=name, rows=4096, builders=builders)
        for name in ("tight", "roomy")
    )
    child = start_tight(tight)
    trained = tight / "attempt-1" / "checkpoints" / "sft" / "final"
    while not trained.is_dir() and child.poll() is None:
        time.sleep(0.05)
    child.kill()
    said = (child.communicate()[1] or b"").decode()
    assert trained.is_dir(), said
    metrics = read_json(tight / "attempt-1" / "metrics.json")
    assert len(metrics["out_of_memory"]) == 1
    assert "going on from the last checkpoint with 2048, whose gradients are added up" in said
    log = (tight / "attempt-1" / "train.log").read_text()
    assert "{'per_device_train_batch_size': 2048, 'gradient_accumulation_steps': 2}" in log
    spec, splits = read_run(roomy)
    progress = RunProgress(roomy / "metrics.json")
    train_all(spec, splits, Place(roomy, 1, roomy, "cpu", "auto"), progress)
    losses, expected = ([one["loss"] for one in data["loss_history"]] for data in (metrics, progress.data))
    assert losses[1:] == pytest.approx(expected[1:], rel=2e-3)  # the first is dev's, before training
    assert len(losses) == 3


def test_a_batch_of_one_that_does_not_fit_is_no_use_halving(tmp_path: Path, tiny_base: Path) -> None:
    stage = make_stage(tmp_path / "run", tiny_base, "sft", FEW, halvings=2)
    with pytest.raises(OutOfMemory, match=r"with 2 rows at once: .* with 1"), _memory_watched(stage):
        raise MemoryError
    uneven = make_stage(tmp_path / "uneven", tiny_base, "sft", FEW, halvings=2, per_device_train_batch_size=22)
    with pytest.raises(OutOfMemory, match=r"with 2 rows at once: .* with 1"), _memory_watched(uneven):
        raise MemoryError
    few = make_stage(tmp_path / "few", tiny_base, "sft", FEW, halvings=3)
    with pytest.raises(RunFailedForGood, match=r"1 row\(s\) at once.*max_length"), _memory_watched(few):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")


def test_the_kernels_kills_for_memory_are_read(tmp_path: Path) -> None:
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    assert oom_kills(proc, groups) == 0
    files.write_bytes(proc / "vmstat", b"pgfault 7\noom_kill 3\n")
    assert oom_kills(proc, groups) == 3
    files.write_bytes(proc / "self" / "cgroup", b"0::/burnish.slice\n")
    files.write_bytes(groups / "burnish.slice" / "memory.events", b"low 0\noom_kill 1\n")
    assert oom_kills(proc, groups) == 1


# ── what the worker makes of them ────────────────────────────────────────────────────────────────────────────


def fail_once(works: Works, command: str, line: str) -> tuple[str, Path]:
    run_id = works.request()
    folder = works.house.settings.runs / run_id

    def leave() -> None:
        files.write_bytes(attempt_folder(folder, 1) / "train.log", f"earlier\nerror: {line}\n".encode())

    works.launcher.command, works.launcher.meanwhile = command, leave
    assert works.worker.work_once()
    return run_id, folder


def test_what_would_fail_again_is_not_tried_again(works: Works) -> None:
    run_id, _ = fail_once(works, f"exit {FOR_GOOD}", "sft: at step 3 the loss is nan: not finite.")
    run = works.run(run_id)
    assert (run.status, run.attempt) == (RunStatus.FAILED, 1)
    assert run.error == "sft: at step 3 the loss is nan: not finite."


def test_after_a_full_disk_the_next_attempt_goes_on(works: Works) -> None:
    run_id, folder = fail_once(works, f"exit {DISK_FULL}", "The disk is full: x couldn't be written.")
    run = works.run(run_id)
    assert (run.status, run.attempt) == (RunStatus.QUEUED, 2)
    assert run.error == "The disk is full: x couldn't be written."
    assert not attempt_folder(folder, 1).exists()
    assert (attempt_folder(folder, 2) / "train.log").exists()


def test_a_process_killed_for_memory_is_followed_by_one_that_takes_half(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = iter([4, 5])
    monkeypatch.setattr(worker, "oom_kills", lambda: next(kills))
    run_id, folder = fail_once(works, KILLED, "")
    assert "the machine's memory ran out" in str(works.run(run_id).error)
    metrics: dict[str, Any] = read_json(attempt_folder(folder, 2) / "metrics.json")
    assert len(metrics["out_of_memory"]) == 1
    with works.house.database.write() as session:
        runs.get_run(session, run_id).not_before = now()
    kills = iter([5, 5])
    works.launcher.command, works.launcher.meanwhile = "true", lambda: None
    assert works.worker.work_once()
    assert works.run(run_id).status == RunStatus.SUCCEEDED
