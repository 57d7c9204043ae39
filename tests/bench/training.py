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
    runs = [[_tokens_per_second(models, rows, how) for how in ("plain", "no replay", "run")] for _ in range(RUNS)]
    plain, without, whole = (list(column) for column in zip(*runs, strict=True))
    return [
        Figure("SFT epoch, plain TRL", "tokens/s", plain),
        Figure("SFT epoch, a run's without replay", "tokens/s", without, _against(without, plain)),
        Figure("SFT epoch, a run's", "tokens/s", whole, _against(whole, plain)),
    ]


def _against(ours: list[float], plain: list[float]) -> str:
    ratio = median(mine / other for mine, other in zip(ours, plain, strict=True))
    return f"{ratio:.1f} × plain TRL (run by run)"


def _tokens_per_second(models: Path, rows: list[Row], how: str) -> float:
    """The rows' tokens over the seconds of an epoch's steps; replayed texts take time and don't count."""
    from trainer.methods import sft
    from trainer.methods.stage import Stage, load_model
    from trainer.progress import RunProgress

    with tempfile.TemporaryDirectory() as folder:
        replay = {} if how == "run" else {"replay_fraction": 0.0}
        stage = Stage(
            method="sft",
            rows=rows,
            dev=[],
            hyperparameters=Hyperparameters(num_train_epochs=1, **replay),
            seed=1,
            base_path=str(models / BUNDLED_MODEL),
            device="cpu",
            start=None,
            folder=Path(folder),
            progress=RunProgress(Path(folder) / "metrics.json"),
        )
        model, tokenizer = load_model(stage)
        data = sft.tokenized(rows, tokenizer)
        trainer = _plain_trainer(stage, model, tokenizer, data) if how == "plain" else sft.build(stage)
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
