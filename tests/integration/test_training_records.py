"""What a run leaves for whoever looks at it later: curves for TensorBoard, progress, and what it was made of."""

import json
import platform
import struct
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import METHODS, QUICK, tiny_row

from feedback.config import Settings
from feedback.files import read_json, write_bytes
from feedback.processes import trainer_command
from feedback.progress import read_progress, read_provenance
from feedback.run_folder import RunSpec
from trainer import provenance
from trainer.base_files import base_sha256
from trainer.methods.stage import Stage, arguments
from trainer.progress import RunProgress

pytestmark = pytest.mark.usefixtures("one_thread")


def events(folder: Path) -> Iterator[Any]:
    """TensorBoard's records, file by file as they were begun: length, its checksum, an Event, its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.glob("events.out.tfevents.*")):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            yield Event.FromString(content[at + 12 : at + 12 + length])
            at += 12 + length + 4


def curves(folder: Path) -> dict[str, dict[int, float]]:
    """Tag → step → value; as TensorBoard does, a session's start drops the steps from its own on."""
    found: dict[str, dict[int, float]] = {}
    for event in events(folder):
        if event.HasField("session_log"):
            found = {tag: {n: v for n, v in values.items() if n < event.step} for tag, values in found.items()}
        for value in event.summary.value:
            found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def test_a_run_leaves_curves_and_what_it_was_made_of(tiny_trained: Path, tiny_base: Path) -> None:
    attempt = tiny_trained / "attempt-1"
    metrics = json.loads((attempt / "metrics.json").read_text())
    assert metrics["eta_seconds"] is None, "done"
    for stage in METHODS:
        drawn = curves(attempt / "tensorboard" / stage)
        steps = [one for one in metrics["loss_history"] if one["stage"] == stage and one["loss"] is not None]
        losses = {one["step"]: one["loss"] for one in steps}
        assert drawn["train/loss"] == pytest.approx(losses, rel=1e-5)
        assert set(drawn) >= {"train/learning_rate", "train/grad_norm", "train/tokens_per_second"}
        assert all(value > 0 for value in drawn["train/grad_norm"].values())
        assert all(value > 0 for value in drawn["train/tokens_per_second"].values())
    assert list(curves(attempt / "tensorboard" / "sft")["eval/loss"]) == [0, 3, 6], "before and after each epoch"
    replayed = {
        one["step"]: one["replay_divergence"]
        for one in metrics["loss_history"]
        if one["stage"] == "sft" and one["replay_divergence"] is not None
    }
    assert curves(attempt / "tensorboard" / "sft")["train/replay_divergence"] == pytest.approx(replayed, rel=1e-5)
    assert list(replayed) == [2, 3, 4, 5], "0.8 texts a step"
    assert "train/replay_divergence" not in curves(attempt / "tensorboard" / "dpo")

    card = (attempt / "adapter" / "README.md").read_text().splitlines()
    for stage in METHODS:
        own = [one for one in metrics["loss_history"] if one["stage"] == stage]
        losses, dev = ([one[name] for one in own if one[name] is not None] for name in ("loss", "dev_loss"))
        (line,) = (line for line in card if line.startswith(f"- {stage}: "))
        assert f"training loss {losses[0]:.4f} at first, {losses[-1]:.4f} at last" in line
        assert f"dev loss {min(dev[1:]):.4f} at best, over {len(dev) - 1} epochs" in line

    made = read_provenance(attempt)
    assert made is not None
    spec = json.loads((tiny_trained / "run.json").read_text())
    for name in ("run_id", "dataset_sha256", "seed", "methods", "hyperparameters", "baseline_version"):
        assert made[name] == spec[name]
    assert made["base_model"] == tiny_base.name
    assert (made["base_sha256"], made["base_revision"]) == (base_sha256(tiny_base), None)
    (process,) = made["processes"]
    assert process["python"] == platform.python_version()
    assert [process[name] for name in ("torch", "trl")] == [metadata.version(name) for name in ("torch", "trl")]
    assert (process["device"], process["dtype"] in ("float32", "bfloat16")) == ("cpu", True)
    assert str(tiny_trained.parent) not in (attempt / "provenance.json").read_text(), "no paths"


def test_a_base_from_the_hub_is_recorded_by_its_whole_name_and_commit(
    tmp_path: Path, tiny_trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789" * 4
    cache = tmp_path / "hub" / "models--owner--name"
    write_bytes(cache / "refs" / "main", commit.encode())
    write_bytes(cache / "snapshots" / commit / "config.json", b"{}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    spec = RunSpec(**read_json(tiny_trained / "run.json") | {"base_model": "owner/name"})
    for base, revision in (("owner/name", commit), ("owner/unknown", None)):
        provenance.record(tmp_path, spec, base_path=base, device="cpu", dtype="float32")
        made = read_provenance(tmp_path)
        assert made is not None
        assert (made["base_model"], made["base_sha256"], made["base_revision"]) == ("owner/name", None, revision)


def test_a_resumed_stage_forgets_what_was_drawn_after_its_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "attempt-1" / "metrics.json"
    for resumed_at, last, loss in ((0, 5, 1.0), (3, 6, 2.0)):
        progress = RunProgress(path)
        with progress.stage("sft"):
            progress.resume_at("sft", resumed_at)
            for step in range(resumed_at + 1, last + 1):
                progress.loss(step, 0.0, loss=loss)
    assert curves(path.parent / "tensorboard" / "sft")["train/loss"] == {1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 6: 2}


def test_the_time_left_comes_from_the_steps_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    progress = RunProgress(tmp_path / "metrics.json")
    with progress.stage("sft"):
        for step, seconds in ((11, 60.0), (12, 2.0), (13, 4.0)):  # resumed at 10, and slow to begin
            clock[0] += seconds
            progress.step(step, 20)
            progress.loss(step, 0.0, loss=1.0, num_tokens=100.0 * step)
        progress.write()
        told = read_progress(tmp_path)
        assert told is not None
        assert (told.stage, told.step, told.total_steps, told.loss) == ("sft", 13, 20, 1.0)
        assert told.eta_seconds == pytest.approx(7 * 3.0, abs=0.5)
        assert told.tokens_per_second == pytest.approx(200 / 6, abs=0.1)
        stopped = read_progress(tmp_path, going=False)
        assert stopped is not None
        assert stopped.eta_seconds is None


def test_the_newest_divergence_is_told_beside_the_loss_of_the_same_stage(tmp_path: Path) -> None:
    progress = RunProgress(tmp_path / "metrics.json")
    with progress.stage("sft"):
        progress.loss(1, 0.5, loss=1.0, replay_divergence=0.25)
        progress.loss(2, 1.0, loss=1.5)
        progress.loss(2, 1.0, dev_loss=2.0)
        progress.write()
        assert str(read_progress(tmp_path)) == "sft, loss 1.500, divergence 0.250"
    with progress.stage("dpo"):
        progress.loss(1, 0.5, loss=0.5)
        progress.write()
        assert str(read_progress(tmp_path)) == "dpo, loss 0.500"


def test_who_else_hears_of_every_step_is_told_to_trl(tmp_path: Path, tiny_base: Path) -> None:
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig

    settings = Settings(data_folder=tmp_path, report_to="wandb,mlflow")
    command = trainer_command(settings, "run", tmp_path, 1)
    assert command[command.index("--report-to") + 1] == "wandb,mlflow"
    assert "--report-to" not in trainer_command(settings, "evaluate", tmp_path, 1)
    assert "--report-to" not in trainer_command(Settings(data_folder=tmp_path), "run", tmp_path, 1)

    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    quiet = Stage(
        "sft", [tiny_row(1, "train", "sft")], [], QUICK, 3, str(tiny_base), "cpu", None, tmp_path, RunProgress(tmp_path)
    )
    loud = Stage(**{**quiet.__dict__, "report_to": ("wandb", "mlflow"), "run_id": "run-7"})
    assert arguments(quiet, model, SFTConfig).report_to == []
    told = arguments(loud, model, SFTConfig)
    assert (told.report_to, told.run_name) == (["wandb", "mlflow"], "run-7 sft")


def test_a_commit_is_told_of_a_checkout_alone(tmp_path: Path) -> None:
    assert provenance.git_commit(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    (tmp_path / "file").write_text("as committed")
    for arguments_ in (["init", "-q"], ["add", "file"], ["commit", "-qm", "A file"]):
        subprocess.run([*git, *arguments_], check=True)
    commit = provenance.git_commit(tmp_path)
    assert commit is not None
    assert len(commit) == 40
    (tmp_path / "file").write_text("changed since")
    assert provenance.git_commit(tmp_path) == f"{commit}+"
    (tmp_path / "inside").mkdir()
    assert provenance.git_commit(tmp_path / "inside") is None, "installed inside of somebody's checkout"
