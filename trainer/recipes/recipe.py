"""What a recipe is: a folder with its data and a `recipe.py` that says how to train on it and how to measure.

    sentiment/
      recipe.py        RECIPE: rows to prompts and completions, metrics, hyperparameters
      train.jsonl      one row a line: `id`, `language`, and whatever else recipe.py reads
      dev.jsonl        stops the training when its loss no longer falls
      held_out.jsonl   judges; never trained on, and best not tuned on

Promises: what is loaded is complete, each id is there once. Leaves out running (run.py) and the metrics (metrics.py).
"""

import importlib.util
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from feedback.errors import InvalidInput, NotFound
from feedback.hyperparameters import Hyperparameters
from feedback.run_folder import Split, Turn

BUILT_IN = Path(__file__).parent
FILES: Mapping[Split, str] = {"train": "train.jsonl", "dev": "dev.jsonl", "gate": "held_out.jsonl"}
"""Which file becomes which side of a run's folder."""

Data = dict[str, Any]


@dataclass(frozen=True)
class Example:
    """One prompt with the completion that is right for it."""

    id: str
    language: str
    prompt: list[Turn]
    completion: str
    topic: str
    """Other topics' completions are wrong answers to this prompt: the trainer's evaluation compares with them."""
    key_facts: list[str] = field(default_factory=list)
    data: Data = field(default_factory=dict)
    """The row it was made of."""


@dataclass(frozen=True)
class Answer:
    """A held-out example, what a version replied, and how surprised it was by the right completion."""

    example: Example
    reply: str
    loss: float
    """Mean negative log-probability of the completion's tokens, in nats."""


@dataclass(frozen=True)
class Recipe:
    title: str
    examples: Callable[[Data], Iterable[Example]]
    """Row of data -> what is trained on, or asked: usually one example, for a conversation one for each reply."""
    measure: Callable[[Sequence[Answer]], dict[str, float]]
    """Answers in one language -> metric's name -> value."""
    hyperparameters: Hyperparameters
    max_new_tokens: int
    lower_is_better: frozenset[str] = frozenset()
    """Names of metrics that should fall."""
    make_base: Callable[[Path], None] | None = None
    """Writes a base model of the recipe's own into a folder; None: the deployment's base model."""


@dataclass(frozen=True)
class Loaded:
    name: str
    folder: Path
    recipe: Recipe
    sides: dict[Split, list[Example]]

    def sizes(self) -> dict[str, dict[str, int]]:
        """Side -> language -> examples."""
        sizes: dict[str, dict[str, int]] = {}
        for split, file in FILES.items():
            counted: dict[str, int] = {}
            for example in self.sides[split]:
                counted[example.language] = counted.get(example.language, 0) + 1
            sizes[file.removesuffix(".jsonl")] = counted
        return sizes


def built_in_names() -> list[str]:
    return sorted(path.parent.name for path in BUILT_IN.glob("*/recipe.py"))


def load_recipe(name: str) -> Loaded:
    """A built-in recipe by its name, or anybody's by its folder: that runs the folder's recipe.py."""
    folder = BUILT_IN / name if name in built_in_names() else Path(name)
    code = folder / "recipe.py"
    if not code.is_file():
        raise NotFound(f"No recipe {name!r}: give one of {', '.join(built_in_names())}, or a folder with a recipe.py.")
    recipe = _recipe_in(code)
    sides = {split: _read(folder / file, recipe) for split, file in FILES.items()}
    ids = [example.id for examples in sides.values() for example in examples]
    if repeated := next((id for id in ids if ids.count(id) > 1), None):
        raise InvalidInput(f"{folder}: the id {repeated!r} is there twice. Give each row an id of its own.")
    return Loaded(folder.resolve().name, folder, recipe, sides)


def turn(role: str, content: str) -> Turn:
    return Turn.model_validate({"role": role, "content": content})


def _recipe_in(code: Path) -> Recipe:
    if code.parent.parent == BUILT_IN:
        module = importlib.import_module(f"trainer.recipes.{code.parent.name}.recipe")
    else:
        spec = importlib.util.spec_from_file_location(f"recipe_{code.parent.resolve().name}", code)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
    recipe = getattr(module, "RECIPE", None)
    if not isinstance(recipe, Recipe):
        raise InvalidInput(f"{code} defines no RECIPE. Make it one: `RECIPE = Recipe(...)` of trainer.recipes.recipe.")
    return recipe


def _read(path: Path, recipe: Recipe) -> list[Example]:
    if not path.is_file():
        raise InvalidInput(f"{path} is missing: a recipe needs {', '.join(FILES.values())}.")
    made: list[Example] = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            made += recipe.examples(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInput(f"{path}, line {number}: {type(error).__name__}: {error}") from error
    if not made:
        raise InvalidInput(f"{path} is empty: give it a row at least.")
    return made
