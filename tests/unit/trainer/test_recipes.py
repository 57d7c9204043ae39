"""The recipes' data are sound, and their metrics say what they should on cases worked out by hand."""

from collections import Counter
from pathlib import Path

import pytest

from feedback.curate.similarity import jaccard, shingles
from feedback.errors import InvalidInput, NotFound
from feedback.key_facts import contains_facts
from trainer.recipes.cooking.recipe import check
from trainer.recipes.dialogue import recipe as dialogue
from trainer.recipes.dialogue.base import plain_texts
from trainer.recipes.medical import recipe as medical
from trainer.recipes.metrics import bleu, rouge
from trainer.recipes.recipe import BUILT_IN, Answer, Example, built_in_names, load_recipe, turn
from trainer.recipes.show import figure

NEARLY_THE_SAME = 0.8
NAMES = ["cooking", "dialogue", "medical", "sentiment", "summaries", "support"]


def example(completion: str, language: str = "en", **more: object) -> Example:
    return Example("1", language, [turn("user", "?")], completion, "topic", **more)  # type: ignore[arg-type]


def asked(one: Example) -> str:
    """What was asked in its own words, without the question that all rows share."""
    return str(one.data.get("text") or one.prompt[-1].content)


def test_the_six_recipes_are_there() -> None:
    assert built_in_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_both_languages_are_taught_and_held_out(name: str) -> None:
    for side, sizes in load_recipe(name).sizes().items():
        assert set(sizes) == {"en", "zh"}, side
        assert min(sizes.values()) >= (4 if side == "dev" else 26)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "dialogue"])
def test_nothing_held_out_is_nearly_in_training(name: str) -> None:
    """Of dialogues, greetings would be alike; their questions are looked at below."""
    sides = load_recipe(name).sides
    taught = [shingles(asked(one)) for one in [*sides["train"], *sides["dev"]]]
    for one in sides["gate"]:
        words = shingles(asked(one))
        assert max(jaccard(words, other) for other in taught) < NEARLY_THE_SAME, one.id


def test_no_held_out_dialogue_says_what_a_taught_one_does() -> None:
    sides = load_recipe("dialogue").sides
    taught = {one.prompt[-1].content for one in [*sides["train"], *sides["dev"]]}
    assert not taught & {one.prompt[-1].content for one in sides["gate"]}


@pytest.mark.parametrize("name", NAMES)
def test_right_completions_have_the_key_facts_and_the_best_marks(name: str) -> None:
    loaded = load_recipe(name)
    for language in ("en", "zh"):
        right = [Answer(one, one.completion, 0.0) for one in loaded.sides["gate"] if one.language == language]
        assert all(contains_facts(answer.reply, answer.example.key_facts) for answer in right)
        best = {"BLEU": pytest.approx(100), "perplexity": 1.0, "questions refused": 0.0}
        assert loaded.recipe.measure(right) == {
            metric: best.get(metric, pytest.approx(1)) for metric in loaded.recipe.measure(right)
        }


@pytest.mark.parametrize("name", NAMES)
def test_useless_replies_have_the_worst_marks(name: str) -> None:
    loaded = load_recipe(name)
    for language in ("en", "zh"):
        empty = [Answer(one, "", 10.0) for one in loaded.sides["gate"] if one.language == language]
        marks = loaded.recipe.measure(empty)
        assert all(value == 0 for metric, value in marks.items() if metric != "perplexity")


def test_facts_are_asked_for_that_were_taught() -> None:
    for name in ("support", "medical", "dialogue"):
        sides = load_recipe(name).sides
        taught = {(one.language, *one.key_facts) for one in sides["train"]}
        assert {(one.language, *one.key_facts) for one in sides["gate"]} <= taught


def test_labels_are_balanced() -> None:
    for examples in load_recipe("sentiment").sides.values():
        counted = Counter(one.completion for one in examples)
        assert len(counted) == 4
        assert len(set(counted.values())) == 1


def test_a_dish_is_checked_in_both_languages() -> None:
    wish = {"language": "zh", "at_hand": ["豆腐", "青菜", "猪肉"], "most_minutes": 15, "vegetarian": True}
    good = "菜名：青菜豆腐\n用料：豆腐、青菜、盐\n时间：12分钟"
    assert all(check(good, wish).values())
    assert check(good.replace("12", "20"), wish)["in time"] is False
    assert check(good.replace("盐", "猪肉"), wish)["vegetarian"] is False
    assert check(good.replace("盐", "虾米"), wish)["at hand"] is False
    english = {"language": "en", "at_hand": ["champignons"], "most_minutes": 9, "vegetarian": True}
    assert all(check("Dish: Champignons\nIngredients: Champignons, oil\nTime: 9 minutes", english).values())


def test_a_disclaimer_and_a_refusal_may_have_other_words() -> None:
    def said(text: str, language: str = "en") -> Answer:
        return Answer(example("", language), text, 0.0)

    assert medical.says(medical.DISCLAIMERS, said("Please consult your doctor."))
    assert medical.says(medical.DISCLAIMERS, said("有问题请咨询医生", "zh"))
    assert not medical.says(medical.DISCLAIMERS, said("Drink water."))
    assert medical.says(medical.REFUSALS, said("I’m not able to diagnose you."))
    assert not medical.says(medical.REFUSALS, said("You can't drink too much."))


def test_one_turn_speaks_for_nobody_else() -> None:
    assert dialogue.ONE_TURN.fullmatch("The sauna is upstairs.")
    assert dialogue.ONE_TURN.fullmatch("桑拿在三楼。")
    for reply in ("", "The sauna is", "Hello.\nUser:\nHi.", "User: hi."):
        assert not dialogue.ONE_TURN.fullmatch(reply)


def test_the_dialogue_base_reads_nothing_that_is_held_out() -> None:
    read = set(plain_texts())
    for name in NAMES:
        assert not read & {asked(one) for one in load_recipe(name).sides["gate"]}


def test_rouge_counts_words_and_chinese_characters() -> None:
    """Right: 4 pieces, reply: 2 of them and no other: precision 1, recall 1/2, F 2/3."""
    assert rouge([Answer(example("the cat sat down"), "The cat", 0.0)])["ROUGE-1"] == pytest.approx(2 / 3)
    assert rouge([Answer(example("白猫坐下", "zh"), "白猫", 0.0)])["ROUGE-1"] == pytest.approx(2 / 3)
    assert rouge([Answer(example("白猫坐下", "zh"), "猫白", 0.0)])["ROUGE-2"] == 0


def test_bleu_cuts_chinese_into_characters() -> None:
    near = Answer(example("水箱能装两升水", "zh"), "水箱能装三升水", 0.0)
    assert 0 < bleu([near]) < 100


def test_a_spread_is_shown_only_if_there_is_one() -> None:
    assert figure({"mean": 0.5, "min": 0.5, "max": 0.5}) == "0.50"


def test_what_is_wrong_with_a_recipe_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="give one of cooking"):
        load_recipe("poetry")
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "recipe.py").write_text((BUILT_IN / "sentiment" / "recipe.py").read_text())
    with pytest.raises(InvalidInput, match=r"train\.jsonl is missing"):
        load_recipe(str(folder))
    for file in ("train", "dev", "held_out"):
        (folder / f"{file}.jsonl").write_text('{"id": "1", "language": "en", "text": "Good.", "label": "fine"}\n')
    with pytest.raises(InvalidInput, match=r"train\.jsonl, line 1: ValueError: the label 'fine'"):
        load_recipe(str(folder))
    for file in ("train", "dev", "held_out"):
        (folder / f"{file}.jsonl").write_text('{"id": "1", "language": "en", "text": "Good.", "label": "positive"}\n')
    with pytest.raises(InvalidInput, match="the id '1' is there twice"):
        load_recipe(str(folder))
