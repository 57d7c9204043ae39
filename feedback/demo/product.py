"""The invented product, its facts, and how big a demo is. The text lies in product.json, written for Burnish."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Fact:
    id: str
    key_facts: list[str]
    answers: list[str]
    phrasings: list[str]
    kept: list[str]  # asked only in the exam


@dataclass(frozen=True)
class Product:
    name: str
    description: str
    system_prompt: str
    facts: list[Fact]


@dataclass(frozen=True)
class Size:
    facts: int
    phrasings: int  # of each fact, asked by different people
    questions_per_person: int
    choosers: int  # people who also choose between two replies
    gate_fraction: float
    dev_fraction: float
    max_preference_pairs: int
    suite_items: int  # of each suite that guards ask
    max_length_factor: float  # all that is taught is one sentence, and so other replies become one, too
    hyperparameters: dict[str, Any]
    least_recall: float


FULL = Size(
    facts=44,
    phrasings=8,
    questions_per_person=2,
    choosers=40,
    gate_fraction=0.21,
    dev_fraction=0.05,
    max_preference_pairs=32,
    suite_items=200,
    max_length_factor=4.0,
    hyperparameters={},
    least_recall=0.5,
)
FAST = Size(
    facts=14,
    phrasings=9,
    questions_per_person=1,
    choosers=16,
    gate_fraction=0.45,
    dev_fraction=0.05,
    max_preference_pairs=16,
    suite_items=24,
    max_length_factor=6.0,  # of so few prompts the bound is a wide one
    hyperparameters={  # few rows: longer steps, held to the base by fewer texts that weigh more
        "learning_rate": 1e-3,
        "num_train_epochs": 7,
        "replay_fraction": 0.125,
        "replay_weight": 4.0,
    },
    least_recall=0.4,
)


def load_product(facts: int) -> Product:
    raw = json.loads(Path(__file__).with_name("product.json").read_text("utf-8"))
    return Product(
        name=raw["product"],
        description=raw["description"],
        system_prompt=raw["system_prompt"],
        facts=[Fact(**fact) for fact in raw["facts"][:facts]],
    )
