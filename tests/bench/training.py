"""SFT as a run does it against plain TRL on the same rows, steps and dtype: trained tokens a second."""

import argparse
import random
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from bench.figures import Result, Row, tell

from feedback.config import BUNDLED_MODEL
from feedback.demo.product import load_product
from feedback.hyperparameters import Hyperparameters
from feedback.run_folder import Row as TrainingRow
from feedback.run_folder import Turn
from trainer.own_answers import write_answers

ROWS = 48


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=3, help="how often each is measured")


def measure(options: argparse.Namespace, models: Path) -> Result:
    data = rows(ROWS)
    measured: dict[str, list[float]] = {"plain TRL": [], "a run without replay": [], "a run": []}
    with tempfile.TemporaryDirectory() as folder:
        answers = write_answers(BUNDLED_MODEL, models, Path(folder), "cpu", "auto")
        for what in [*measured] * options.runs:
            values = measured[what]
            values.append(_tokens_per_second(models, data, what, answers))
            tell(f"SFT epoch, {what}: {values[-1]:.0f} tokens/s")
    plain = measured["plain TRL"]
    return {"rows": [_row(f"SFT epoch, {what}", values, plain) for what, values in measured.items()]}


def _row(what: str, values: list[float], plain: list[float]) -> Row:
    return {
        "what": what,
        "tokens_per_second": median(values),
        "lowest": min(values),
        "highest": max(values),
        "times_plain_trl": median(ours / theirs for ours, theirs in zip(values, plain, strict=True)),
    }


def _tokens_per_second(models: Path, rows: list[TrainingRow], how: str, answers: Path) -> float:
    """The rows' tokens over the seconds of an epoch's steps; replayed texts take time and don't count."""
    from trainer.methods import sft
    from trainer.methods.stage import Stage, load_model
    from trainer.progress import RunProgress

    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(
            method="sft",
            rows=rows,
            dev=[],
            hyperparameters=Hyperparameters(num_train_epochs=1),
            seed=1,
            base_path=str(models / BUNDLED_MODEL),
            device="cpu",
            start=None,
            folder=Path(folder),
            progress=RunProgress(Path(folder) / "metrics.json"),
            answers=answers if how == "a run" else None,
        )
        model, tokenizer = load_model(stage)
        data = sft.tokenized(rows, tokenizer)
        trainer = _plain_trainer(stage, model, tokenizer, data) if how == "plain TRL" else sft.build(stage)
        del model
        with stage.progress.stage("sft"):
            began = time.perf_counter()
            trainer.train()
            return sum(len(row["input_ids"]) for row in data) / (time.perf_counter() - began)


def _plain_trainer(stage: Any, model: Any, tokenizer: Any, data: list[dict[str, list[int]]]) -> Any:
    """TRL as it comes, made as good as its settings allow: bf16 base, no gradient checkpointing."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from trainer.methods.stage import arguments

    learning_rate = stage.hyperparameters.learning_rate
    return SFTTrainer(
        model=model,
        args=arguments(stage, model, SFTConfig, learning_rate=learning_rate, num_train_epochs=1, save_strategy="epoch"),
        train_dataset=Dataset.from_list(data),
        processing_class=tokenizer,
    )


def rows(count: int) -> list[TrainingRow]:
    """Corrections of the demo's product."""
    product = load_product(count // 4)
    chance = random.Random(3)
    made = [
        TrainingRow(
            id=f"{fact.id}-{index}",
            method="sft",
            source="correction",
            prompt=[Turn(role="system", content=product.system_prompt), Turn(role="user", content=text)],
            completion=[Turn(role="assistant", content=chance.choice(fact.answers))],
            cluster=fact.id,
            topic=fact.id,
        )
        for fact in product.facts
        for index, text in enumerate(fact.phrasings[:4])
    ]
    chance.shuffle(made)
    return made
