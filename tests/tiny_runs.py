"""Runs' folders for the tiny base: made in milliseconds, trained in seconds."""

from pathlib import Path
from typing import Any

from run_folders import lay_out
from tiny import WORDS

from feedback.hyperparameters import Hyperparameters
from feedback.run_folder import Method, Row, Split, Turn

METHODS: list[Method] = ["sft", "dpo", "kto"]
TINY_ROWS = 19
"""On the training side, of each method: the last batch of a pass isn't full."""
QUICK = Hyperparameters(r=4, lora_alpha=8, learning_rate=1e-2, num_train_epochs=2, preference_learning_rate=5e-3)


def tiny_row(number: int, split: str, method: Method, **more: Any) -> Row:
    """A row about one of ten things; `more` replaces its fields."""

    def turn(role: Any, content: str) -> list[Turn]:
        return [Turn(role=role, content=content)]

    word = WORDS[1 + number % 10]
    right, wrong = (turn("assistant", f"the {word} key is in box {number + more} .") for more in (0, 1))
    answers: dict[str, Any] = {
        "sft": {"completion": right},
        "dpo": {"chosen": right, "rejected": wrong},
        "kto": {"completion": right if number % 2 else wrong, "label": bool(number % 2)},
    }[method]
    fields: dict[str, Any] = {
        "id": f"{split}-{method}-{number}",
        "method": method,
        "source": {"sft": "correction", "dpo": "preference", "kto": "rating"}[method],
        "prompt": turn("user", f"where is the {word} key ?"),
        "contributor": f"{split}-{number % 4}",
        "cluster": f"{split}-{method}-{number}",
        "topic": word,
    }
    return Row(**(fields | answers | more))


def tiny_run(folder: Path, base: Path, methods: list[Method], *, hyperparameters: Hyperparameters = QUICK) -> Path:
    counts: dict[Split, int] = {"train": TINY_ROWS, "dev": 4, "gate": 4}
    made = {
        split: [tiny_row(number, split, method) for method in methods for number in range(count)]
        for split, count in counts.items()
    }
    return lay_out(folder, base, list(methods), hyperparameters, made)
