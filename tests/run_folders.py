"""Run folders for the tiny base: a few rows of each method, made by hand, and settings that train in seconds."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiny import WORDS

from feedback.files import file_sha256, write_json
from feedback.hyperparameters import Hyperparameters
from feedback.policies import VerdictPolicy
from feedback.row_hashes import write_rows
from feedback.run_folder import ROWS, Row, RunSpec, Split, Turn

if TYPE_CHECKING:
    from trainer.methods.stage import Stage

QUICK = Hyperparameters(r=4, lora_alpha=8, learning_rate=1e-2, num_train_epochs=4, preference_learning_rate=5e-3)


def turn(role: Any, content: str) -> list[Turn]:
    return [Turn(role=role, content=content)]


def sft_row(number: int, split: str) -> Row:
    word = WORDS[1 + number % 10]
    return Row(
        id=f"{split}-{number}",
        method="sft",
        source="correction",
        prompt=turn("user", f"where is the {word} {'key' if split == 'train' else 'box'} ?"),
        completion=turn("assistant", f"the {word} key is in box {number % 10} ."),
        contributor=f"{split}-{number % 4}",
        cluster=f"{split}-{number}",
        topic=word,
        key_facts=[str(number % 10)],
    )


def dpo_row(number: int, split: str) -> Row:
    return Row(
        id=f"{split}-pair-{number}",
        method="dpo",
        source="preference",
        prompt=turn("user", f"what is {number} ?"),
        chosen=turn("assistant", "amber brass ."),
        rejected=turn("assistant", "cobalt delta ember ."),
        contributor=f"{split}-{number % 4}",
        cluster=f"{split}-pair-{number}",
        topic=str(number),
    )


def kto_row(number: int, split: str) -> Row:
    liked = number % 2 == 0
    return Row(
        id=f"{split}-rated-{number}",
        method="kto",
        source="rating",
        prompt=turn("user", f"what is {number} ?"),
        completion=turn("assistant", "amber brass ." if liked else "cobalt delta ember ."),
        label=liked,
        contributor=f"{split}-{number % 4}",
        cluster=f"{split}-rated-{number}",
        topic=str(number),
    )


BUILDERS: dict[str, Any] = {"sft": sft_row, "dpo": dpo_row, "kto": kto_row}


def make_run_folder(
    place: Path,
    base: Path,
    methods: list[Any],
    hyperparameters: Hyperparameters,
    rows: int = 24,
    name: str = "run",
    builders: dict[str, Any] | None = None,
) -> Path:
    builders = builders or BUILDERS
    counts: dict[Split, int] = {"train": rows, "dev": 4, "gate": 8}
    made = {
        split: [builders[method](number, split) for method in methods for number in range(count)]
        for split, count in counts.items()
    }
    return lay_out(place / name, base, methods, hyperparameters, made)


def lay_out(
    folder: Path, base: Path, methods: list[Any], hyperparameters: Hyperparameters, sides: dict[Split, list[Row]]
) -> Path:
    """A run's folder with these rows, against the bare base."""
    dataset_sha256 = write_rows(folder, sides)
    (folder / "suites").mkdir()
    (folder / "suites" / "general.txt").write_text("the amber key is in the box .\n\nwhat is the door ?\n")
    files = [ROWS, "suites/general.txt"]
    spec = RunSpec(
        run_id=folder.name,
        assistant="tiny",
        base_model=str(base),
        baseline_version="base",
        methods=methods,
        hyperparameters=hyperparameters,
        verdict=VerdictPolicy(max_new_tokens=8, required_guards=["separate_data", "finite_measurements"]),
        seed=7,
        dataset_sha256=dataset_sha256,
        files={file: file_sha256(folder / file) for file in files},
    )
    write_json(folder / "run.json", spec.model_dump(mode="json"))
    return folder


def make_stage(
    folder: Path, base: Path, method: Any, rows: list[Row] | int = 24, dev: list[Row] | int = 0, **how: Any
) -> "Stage":
    """A stage of a run by itself; `rows` and `dev` may be how many, `how` a Stage's fields or hyperparameters."""
    from dataclasses import fields

    from trainer.methods.stage import Stage
    from trainer.progress import RunProgress

    def of(side: str, wanted: list[Row] | int) -> list[Row]:
        return [BUILDERS[method](number, side) for number in range(wanted)] if isinstance(wanted, int) else wanted

    folder.mkdir(parents=True, exist_ok=True)
    own = {name: how.pop(name) for name in [field.name for field in fields(Stage)] if name in how}
    made: dict[str, Any] = {
        "method": method,
        "rows": of("train", rows),
        "dev": of("dev", dev),
        "hyperparameters": QUICK.model_copy(update=how),
        "seed": 3,
        "base_path": str(base),
        "device": "cpu",
        "start": None,
        "folder": folder / "checkpoints" / method,
        "progress": RunProgress(folder / "metrics.json"),
    }
    stage = Stage(**made | own)
    stage.folder.mkdir(parents=True, exist_ok=True)
    stage.progress.data["stage"] = method
    return stage


def train(stage: "Stage") -> Path:
    """As a run does it: what is finished isn't done again. Returns the result's folder."""
    from importlib import import_module

    if not stage.final.is_dir():
        with stage.progress.stage(stage.method):
            import_module(f"trainer.methods.{stage.method}").train(stage)
    return stage.final
