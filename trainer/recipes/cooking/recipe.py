"""Recipe recommendation: a dish from what is at hand, in the time there is, without meat where none is wanted.

There is no one right dish, so code checks each reply: has it the three lines (dish, ingredients, time), does it use
only what is at hand or in every cupboard, is it ready in time, is it free of meat and fish where that was asked for.
What has no such lines fulfils nothing. Whether the dish tastes good isn't measured.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from feedback.hyperparameters import Hyperparameters
from trainer.recipes.metrics import share
from trainer.recipes.recipe import Answer, Data, Example, Recipe, turn

FORM = {
    "en": "Dish: {dish}\nIngredients: {ingredients}\nTime: {minutes} minutes",
    "zh": "菜名：{dish}\n用料：{ingredients}\n时间：{minutes}分钟",
}
FORMS = {
    "en": re.compile(r"\s*Dish: (.+)\nIngredients: (.+)\nTime: (\d+) minutes\s*"),
    "zh": re.compile(r"\s*菜名：(.+)\n用料：(.+)\n时间：(\d+)分钟\s*"),
}
COMMA = {"en": ", ", "zh": "、"}
CUPBOARD = {"en": {"salt", "pepper", "oil", "water", "sugar"}, "zh": {"盐", "胡椒", "油", "水", "糖", "酱油"}}
MEAT = {
    "en": re.compile(r"\b(bacon|beef|chicken|chorizo|cod|fish|ham|lamb|meat|pork|salmon|sausage|shrimp|tuna|turkey)"),
    "zh": re.compile("肉|鸡丁|鸡块|鸡汤|鸡丝|炖鸡|排骨|火腿|培根|鱼|虾"),
}


@dataclass(frozen=True)
class Suggestion:
    dish: str
    ingredients: list[str]
    minutes: int


def examples(row: Data) -> Iterable[Example]:
    language = row["language"]
    completion = FORM[language].format(
        dish=row["dish"], ingredients=COMMA[language].join(row["ingredients"]), minutes=row["minutes"]
    )
    yield Example(row["id"], language, [turn("user", row["request"])], completion, topic=row["dish"], data=row)


def measure(answers: Sequence[Answer]) -> dict[str, float]:
    checks = [check(answer.reply, answer.example.data) for answer in answers]
    vegetarian = [one for one, answer in zip(checks, answers, strict=True) if answer.example.data["vegetarian"]]
    return {
        "form kept": share([one["form"] for one in checks]),
        "only what is at hand": share([one["at hand"] for one in checks]),
        "ready in time": share([one["in time"] for one in checks]),
        "vegetarian where asked": share([one["vegetarian"] for one in vegetarian]),
        "all of these": share([all(one.values()) for one in checks]),
    }


def check(reply: str, wish: Data) -> dict[str, bool]:
    """Which of the wishes a reply fulfils.

    >>> wish = {"language": "en", "at_hand": ["eggs", "ham"], "most_minutes": 10, "vegetarian": True}
    >>> check("Dish: Boiled eggs\\nIngredients: eggs, salt\\nTime: 12 minutes", wish)
    {'form': True, 'at hand': True, 'in time': False, 'vegetarian': True}
    >>> check("Try an omelette!", wish)
    {'form': False, 'at hand': False, 'in time': False, 'vegetarian': False}
    """
    language = wish["language"]
    suggestion = parse(reply, language)
    if suggestion is None:
        return dict.fromkeys(("form", "at hand", "in time", "vegetarian"), False)
    allowed = {*wish["at_hand"], *CUPBOARD[language]}
    words = " ".join([suggestion.dish, *suggestion.ingredients]).lower()
    return {
        "form": True,
        "at hand": set(suggestion.ingredients) <= allowed,
        "in time": suggestion.minutes <= wish["most_minutes"],
        "vegetarian": not wish["vegetarian"] or not MEAT[language].search(words),
    }


def parse(reply: str, language: str) -> Suggestion | None:
    found = FORMS[language].fullmatch(reply)
    if found is None:
        return None
    ingredients = [one.strip().lower() for one in found[2].split(COMMA[language].strip())]
    return Suggestion(found[1].strip(), ingredients, int(found[3]))


RECIPE = Recipe(
    title="Recipe recommendation: dishes that keep to what is at hand, the time and the diet",
    examples=examples,
    measure=measure,
    hyperparameters=Hyperparameters(learning_rate=5e-4, num_train_epochs=5),
    max_new_tokens=56,
)
