"""The baseline in a run's folder: replaced whole, mended after a kill, and named in run.json."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from burnish_server import write_adapter

from feedback import adapters, files
from feedback.hyperparameters import Hyperparameters
from feedback.policies import VerdictPolicy
from feedback.row_hashes import write_rows
from feedback.run_folder import RunSpec
from trainer.baseline import align_baseline, replace_baseline
from trainer.inputs import read_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's folder without rows, judged against the bare base."""
    folder = tmp_path / "run-1"
    dataset_sha256 = write_rows(folder, {})
    spec = RunSpec(
        run_id="run-1",
        assistant="support",
        base_model="tiny",
        baseline_version="base",
        methods=["sft"],
        hyperparameters=Hyperparameters(),
        verdict=VerdictPolicy(),
        seed=1,
        dataset_sha256=dataset_sha256,
        files={"rows.txt": dataset_sha256},
    )
    files.write_json(folder / "run.json", spec.model_dump())
    return folder


@pytest.fixture
def publish(tmp_path: Path) -> Callable[[], Path]:
    """Puts an adapter into a registry; returns its folder there."""

    def published() -> Path:
        registry = tmp_path / "adapters"
        made = write_adapter(tmp_path / f"made-{len(list(tmp_path.iterdir()))}")
        return registry / adapters.publish(made, registry)

    return published


def baseline_of(folder: Path) -> str:
    """What a training process finds in the folder, all hashes checked."""
    assert not list(folder.glob(".*")), "nothing is left aside"
    return read_run(folder)[0].baseline_version


def test_the_baseline_is_replaced_and_taken_away(folder: Path, publish: Callable[[], Path]) -> None:
    first, second = publish(), publish()
    for serving in (first, second):
        replace_baseline(folder, serving, 1)
        assert baseline_of(folder) == serving.name
    before = files.file_sha256(folder / "run.json")
    align_baseline(folder)
    assert files.file_sha256(folder / "run.json") == before
    replace_baseline(folder, None, 1)
    assert baseline_of(folder) == "base"
    assert not (folder / "baseline").exists()


def test_a_replacement_killed_after_the_files_is_named(folder: Path, publish: Callable[[], Path]) -> None:
    first, second = publish(), publish()
    replace_baseline(folder, first, 1)
    old = (folder / "run.json").read_bytes()
    replace_baseline(folder, second, 1)
    (folder / "run.json").write_bytes(old)
    align_baseline(folder)
    assert baseline_of(folder) == second.name


@pytest.mark.parametrize("kept", [(), adapters.CONTENT[:1], adapters.CONTENT[1:], (files.MANIFEST,)])
def test_a_baseline_that_is_not_whole_counts_as_none(
    folder: Path, publish: Callable[[], Path], kept: tuple[str, ...]
) -> None:
    serving = publish()
    replace_baseline(folder, serving, 1)
    for path in (folder / "baseline").iterdir():
        if path.name not in kept:
            path.unlink()
    align_baseline(folder)
    assert baseline_of(folder) == "base"
    replace_baseline(folder, serving, 1)
    assert baseline_of(folder) == serving.name


def test_a_baseline_without_its_manifest_is_whole(folder: Path, publish: Callable[[], Path]) -> None:
    serving = publish()
    replace_baseline(folder, serving, 1)
    (folder / "baseline" / files.MANIFEST).unlink()
    align_baseline(folder)
    assert baseline_of(folder) == serving.name


def test_a_kill_at_any_moment_of_the_removal_is_mended(
    folder: Path, publish: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = publish(), publish()
    replace_baseline(folder, first, 1)

    def die(path: Path, **_: Any) -> None:
        (path / adapters.CONTENT[0]).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", die)
        with pytest.raises(KeyboardInterrupt):
            replace_baseline(folder, second, 1)
    align_baseline(folder)
    assert baseline_of(folder) == "base"  # away, not half there; the worker then sees that something else serves
