"""The crowd that `burnish bench poison` trains on: trolls come on top of honest people, and every lie is known."""

import argparse
from pathlib import Path

from bench import poison
from bench.poisoned_crowd import FALSE_FACTS, PoisonedCrowd

from feedback.demo.product import load_product
from feedback.key_facts import contains_facts

PRODUCT = load_product(12)
ANSWERS = {answer for fact in PRODUCT.facts for answer in fact.answers}


def test_honest_people_say_the_same_however_many_trolls_there_are() -> None:
    clean, poisoned = PoisonedCrowd(PRODUCT, 0.0), PoisonedCrowd(PRODUCT, 0.3)
    honest = list(clean.said())
    assert list(poisoned.said())[: len(honest)] == honest
    assert poisoned.exchanges[: len(clean.exchanges)] == clean.exchanges
    assert not any(said.lie for said in honest)
    assert round(len(poisoned.trolls) / poisoned.people, 1) == 0.3


def test_whatever_a_troll_corrects_is_false() -> None:
    crowd = PoisonedCrowd(PRODUCT, 0.3)
    right = {text: fact for fact in PRODUCT.facts for text in (*fact.phrasings, *fact.kept)}
    for said in crowd.said():
        if said.kind != "correction":
            continue
        question = crowd.exchanges[said.exchange].question
        fact = next(fact for text, fact in right.items() if question.endswith(text))
        assert contains_facts(said.text, fact.key_facts) == (not said.lie)
        assert said.lie == (said.contributor in crowd.trolls)
        coordinated = crowd.trolls.get(said.contributor or 0) == "coordinated"
        assert (said.text in ANSWERS) != coordinated
        assert not coordinated or fact.id in FALSE_FACTS


def test_the_curation_keeps_lies_out_that_get_in_without_suspicion(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    poison.add_options(parser)
    told = poison.measure(parser.parse_args(["--curate-only", "--facts", "12", "--shares", "0.3"]), tmp_path)
    clean, curated, without = told["rows"]
    assert clean["sft_lies"] == 0
    assert curated["sft_lies"] < without["sft_lies"] / 2
    assert curated["sft_rows"] - curated["sft_lies"] >= 0.9 * clean["sft_rows"]
