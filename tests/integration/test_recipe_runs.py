"""`burnish recipe`: somebody's own recipe on a tiny model, through the real trainer and engine."""

import json
from pathlib import Path

from burnish_server import burnish, clean_environment
from tiny import WORDS

RECIPE = """
from feedback.hyperparameters import Hyperparameters
from trainer.recipes.metrics import key_fact_recall
from trainer.recipes.recipe import Example, Recipe, turn


def examples(row):
    prompt = [turn("user", row["question"])]
    yield Example(row["id"], row["language"], prompt, row["answer"], row["answer"], [row["box"]], row)


RECIPE = Recipe(
    title="Where the keys are",
    examples=examples,
    measure=lambda answers: {"key-fact recall": key_fact_recall(answers)},
    hyperparameters=Hyperparameters(r=8, learning_rate=1e-2, num_train_epochs=20, replay_fraction=0),
    max_new_tokens=10,
)
"""


def write_recipe(folder: Path) -> Path:
    folder.mkdir()
    (folder / "recipe.py").write_text(RECIPE)
    asked = {"train": ["where is the {} key ?", "the {} key ?", "what is in the {} box ?"], "dev": ["{} key ?"]}
    for side, questions in {**asked, "held_out": ["where is the {} box ?"]}.items():
        rows = [
            {
                "id": f"{side}-{number}-{word}",
                "language": "en",
                "question": question.format(word),
                "answer": f"the {word} key is in box {place}",
                "box": str(place),
            }
            for number, question in enumerate(questions)
            for place, word in enumerate(WORDS[1:6])
        ]
        (folder / f"{side}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_recipe_of_ones_own_is_learned_and_not_trained_twice(tmp_path: Path, tiny_base: Path) -> None:
    recipe = write_recipe(tmp_path / "keys")
    environment = clean_environment(
        BURNISH_DATA_FOLDER=str(tmp_path / "data"), BURNISH_BASE_MODEL=str(tiny_base), OMP_NUM_THREADS="1"
    )
    done = burnish("recipe", "run", str(recipe), "--json", environment=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (recall,) = found["metrics"]
    assert recall["before"]["mean"] <= 0.2
    assert recall["after"]["mean"] >= 0.8
    assert found["sizes"] == {"train": {"en": 15}, "dev": {"en": 5}, "held_out": {"en": 5}}
    assert "keys, seed 1 of 1: " in done.stderr
    attempt = Path(found["seeds"][0]["folder"]) / "attempt-1"
    assert (attempt / "adapter" / "adapter_model.safetensors").is_file()
    log = (attempt / "train.log").read_text()

    shown = burnish("recipe", "run", str(recipe), environment=environment)
    assert shown.returncode == 0, shown.stderr
    assert "Where the keys are" in shown.stdout
    assert "key-fact recall" in shown.stdout
    assert (attempt / "train.log").read_text() == log


def test_the_recipes_are_listed_and_an_unknown_one_is_one_clear_line(tmp_path: Path) -> None:
    environment = clean_environment(BURNISH_DATA_FOLDER=str(tmp_path))
    listed = json.loads(burnish("recipe", "list", "--json", environment=environment).stdout)
    assert "sentiment" in [one["recipe"] for one in listed]
    unknown = burnish("recipe", "run", "poetry", environment=environment)
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("error: No recipe 'poetry'")
