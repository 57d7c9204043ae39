"""SFT as a run does it against plain TRL on the same rows, steps and dtype: trained tokens a second."""

import random
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from bench.figures import Figure

from feedback.config import BUNDLED_MODEL
from feedback.demo.product import load_product
from feedback.policies import Hyperparameters
from feedback.run_folder import Row, Turn

ROWS = 48
RUNS = 3


def measure(models: Path) -> list[Figure]:
    rows = _rows()
    pairs = [(_seconds(models, rows, fast=True), _seconds(models, rows, fast=False)) for _ in range(RUNS)]
    tokens = pairs[0][0][0]
    ours = [tokens / fast[1] for fast, _ in pairs]
    theirs = [tokens / plain[1] for _, plain in pairs]
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return [
        Figure("SFT epoch, plain TRL", "tokens/s", theirs),
        Figure("SFT epoch, a run's", "tokens/s", ours, f"{median(ratios):.1f} × plain TRL (pair by pair)"),
    ]


def _seconds(models: Path, rows: list[Row], *, fast: bool) -> tuple[int, float]:
    """(tokens of an epoch, seconds of its steps)."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from trainer.methods.sft import tokenized
    from trainer.methods.stage import Stage, arguments, load_model
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
        )
        model, tokenizer = load_model(stage)
        data = tokenized(rows, tokenizer)
        trainer: Any = SFTTrainer(
            model=model,
            args=arguments(stage, model, SFTConfig, learning_rate=5e-4, num_train_epochs=1, save_strategy="no"),
            train_dataset=Dataset.from_list(data),
            processing_class=tokenizer,
        )
        if fast:
            from trainer.methods.completion_head import install

            install(trainer.model)
        began = time.perf_counter()
        trainer.train()
        return sum(len(row["input_ids"]) for row in data), time.perf_counter() - began


def _rows() -> list[Row]:
    product = load_product(12)
    chance = random.Random(3)
    rows = [
        Row(
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
    chance.shuffle(rows)
    return rows[:ROWS]
