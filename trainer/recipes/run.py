"""A recipe, run: its data become a run's folder, the trainer trains and evaluates it, the metrics read the replies.

Promises the real path: `python -m trainer run`, the engine that serves for every reply, the bare base as the
baseline; a folder that is finished isn't trained again, an interrupted one goes on. Leaves out showing (show.py).
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from feedback.config import Settings
from feedback.errors import RunFailed
from feedback.files import file_sha256, publish_folder, read_json, sync_folder, write_bytes, write_json
from feedback.policies import VerdictPolicy
from feedback.progress import read_progress
from feedback.row_hashes import write_rows
from feedback.run_folder import GENERAL_TEXT, ROWS, Row, RunSpec, Split, attempt_folder
from service.engines.base import BASE
from trainer.evaluation.record import Evaluation, RowResult
from trainer.failures import last_line
from trainer.launchers.local import LocalLauncher
from trainer.own_suites import own_suites
from trainer.recipes.recipe import Answer, Example, Loaded, turn

ATTEMPT = 1
POLL_SECONDS = 0.5

Scores = dict[str, dict[str, float]]
"""Language -> metric -> value."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class SeedResult:
    seed: int
    folder: Path
    general_perplexity: tuple[float, float]
    """Of general text that nobody taught, before and after: what else was forgotten."""
    seconds: dict[str, float]
    before: Scores
    after: Scores
    rows: list[RowResult]


def run_recipe(loaded: Loaded, seed: int, settings: Settings, folder: Path, tell: Tell) -> SeedResult:
    """Train with this seed in `folder/seed-<n>`, and measure."""
    base_model = settings.base_model
    if loaded.recipe.make_base is not None:
        base_model = str(_own_base(loaded, folder / "base", tell))
    target = folder / f"seed-{seed}"
    _lay_out(loaded, seed, base_model, target)
    _train(target, settings, tell)
    return _measured(loaded, seed, target)


def rows_of(examples: Sequence[Example], split: Split) -> list[Row]:
    """As the curation would write them: nobody's in particular, so that each example stands for itself."""
    return [
        Row(
            id=example.id,
            method="sft",
            source="correction",
            prompt=example.prompt,
            completion=[turn("assistant", example.completion)],
            cluster=f"{split}:{example.id}",
            topic=example.topic,
            key_facts=example.key_facts,
        )
        for example in examples
    ]


def _lay_out(loaded: Loaded, seed: int, base_model: str, target: Path) -> None:
    """Write the run's folder, unless it is there and says the same; one that says something else is replaced."""
    aside = target.with_name(f".{target.name}")
    shutil.rmtree(aside, ignore_errors=True)
    sides = {split: rows_of(examples, split) for split, examples in loaded.sides.items()}
    dataset_sha256 = write_rows(aside, sides)
    write_bytes(aside / GENERAL_TEXT, own_suites()[GENERAL_TEXT.name])
    spec = RunSpec(
        run_id=f"recipe-{loaded.name}-{seed}",
        assistant=loaded.name,
        base_model=base_model,
        baseline_version=BASE,
        methods=["sft"],
        hyperparameters=loaded.recipe.hyperparameters,
        verdict=VerdictPolicy(max_new_tokens=loaded.recipe.max_new_tokens),
        seed=seed,
        dataset_sha256=dataset_sha256,
        files={name: file_sha256(aside / name) for name in (ROWS, GENERAL_TEXT.as_posix())},
    )
    write_json(aside / "run.json", spec.model_dump(mode="json"))
    if target.is_dir() and (target / "run.json").is_file() and read_json(target / "run.json") == spec.model_dump():
        shutil.rmtree(aside)
        return
    shutil.rmtree(target, ignore_errors=True)
    aside.rename(target)
    sync_folder(target.parent)


def _train(target: Path, settings: Settings, tell: Tell) -> None:
    attempt = attempt_folder(target, ATTEMPT)
    if (attempt / "evaluation.json").is_file():  # its checkpoints are gone: the trainer would begin anew
        return
    process = LocalLauncher(settings).start("run", target, ATTEMPT)
    while (status := process.poll()) is None:
        at = read_progress(attempt)
        tell(str(at) if at is not None and at.total_steps else "loading")
        time.sleep(POLL_SECONDS)
    if status != 0:
        log = attempt / "train.log"
        raise RunFailed(f"{last_line(log).removeprefix('error: ')} (The whole log: {log})")
    shutil.rmtree(attempt / "checkpoints", ignore_errors=True)  # the adapter is published: they won't be needed


def _measured(loaded: Loaded, seed: int, target: Path) -> SeedResult:
    attempt = attempt_folder(target, ATTEMPT)
    evaluation = Evaluation.model_validate(read_json(attempt / "evaluation.json"))
    held_out = {example.id: example for example in loaded.sides["gate"]}
    before = [Answer(held_out[row.id], row.baseline.reply, row.baseline.loss) for row in evaluation.rows]
    after = [Answer(held_out[row.id], row.candidate.reply, row.candidate.loss) for row in evaluation.rows]
    return SeedResult(
        seed=seed,
        folder=target,
        general_perplexity=evaluation.perplexity(),
        seconds={name: float(value) for name, value in read_json(attempt / "metrics.json")["seconds"].items()},
        before=_by_language(loaded, before),
        after=_by_language(loaded, after),
        rows=evaluation.rows,
    )


def _by_language(loaded: Loaded, answers: Sequence[Answer]) -> Scores:
    languages = dict.fromkeys(answer.example.language for answer in answers)
    return {
        language: loaded.recipe.measure([answer for answer in answers if answer.example.language == language])
        for language in languages
    }


def _own_base(loaded: Loaded, target: Path, tell: Tell) -> Path:
    if not target.is_dir():
        tell("making the base model")
        draft = target.with_name(f".{target.name}")
        shutil.rmtree(draft, ignore_errors=True)
        assert loaded.recipe.make_base is not None
        loaded.recipe.make_base(draft)
        publish_folder(draft, target, sorted(os.listdir(draft)))
        shutil.rmtree(draft)
    return target


def line_on_stderr(prefix: str) -> Tell:
    """One line that is rewritten in a terminal; elsewhere a line only when something else begins."""
    last = ""

    def tell(words: str) -> None:
        nonlocal last
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{prefix}: {words}")
        elif words.partition(" ")[0] != last.partition(" ")[0]:
            sys.stderr.write(f"{prefix}: {words}\n")
        sys.stderr.flush()
        last = words

    return tell
