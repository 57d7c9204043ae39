"""Stages on the tiny base that train in seconds."""

from pathlib import Path
from typing import Any

from run_folders import QUICK, dpo_row, kto_row, sft_row

from trainer.methods.stage import Stage
from trainer.progress import RunProgress

BUILDERS = {"sft": sft_row, "dpo": dpo_row, "kto": kto_row}


def make_stage(
    folder: Path, base: Path, method: Any, *, rows: int = 24, dev: int = 0, start: Path | None = None, **changed: Any
) -> Stage:
    folder.mkdir()
    progress = RunProgress(folder / "metrics.json")
    progress.data["stage"] = method
    build = BUILDERS[method]
    return Stage(
        method,
        [build(number, "train") for number in range(rows)],
        [build(number, "dev") for number in range(dev)],
        QUICK.model_copy(update=changed),
        3,
        str(base),
        "cpu",
        start,
        folder,
        progress,
    )


def train(stage: Stage) -> Path:
    from importlib import import_module

    with stage.progress.stage(stage.method):
        import_module(f"trainer.methods.{stage.method}").train(stage)
    return stage.final
