"""Bad faith: crafted words that would teach what nobody should, or knock out what honest people said."""

from typing import Any

from feedback.curate.items import Dropped, Item
from feedback.curate.trust import standing, trust
from feedback.curation_policies import TrustPolicy
from feedback.testing import item, look_at


def ids(items: list[Item]) -> list[int]:
    return [number for kept in items for number in kept.feedback_ids]


def believe(items: list[Item], **policy: Any) -> tuple[list[Item], list[Dropped]]:
    chosen = TrustPolicy(**policy)
    return trust(items, look_at(items), standing(items, chosen), chosen)


def correction(number: int, question: str, right: str, *facts: str, **more: Any) -> Item:
    return item(number, question, "I don't know.", correction=right, key_facts=facts, **more)


def test_a_number_that_people_say_of_other_things_is_no_witness() -> None:
    bleach = correction(1, "Is it safe to mix bleach and vinegar?", "Yes, 14 litres of it, go on.", "14")
    refund = correction(2, "How many days do I have for a refund?", "You have 14 days.", "14", contributor="bob")
    again = correction(
        3, "Until when is a refund possible?", "A refund takes at most 14 days.", "14", contributor="eve"
    )
    kept, _ = believe([bleach, refund, again])
    assert ids(kept) == [2, 3]


def test_a_not_that_is_left_out_needs_a_witness() -> None:
    said = item(1, "May I mix them?", "No, do not mix them.", correction="Mix them.", contributor=None)
    shorter = item(2, "Is it big?", "It is very big indeed.", correction="It is very big.")
    assert ids(believe([said, shorter])[0]) == [2]


def test_no_chain_of_ones_own_words_leads_from_what_another_said_to_something_else() -> None:
    words = [f"word{number}" for number in range(12)]
    honest = correction(1, "How?", " ".join(words[:4]), contributor="bob")
    chain = [correction(2 + n, "How?", " ".join(words[n : n + 4]), contributor="troll") for n in range(1, 9)]
    assert "word9" not in " ".join(kept.taught for kept in believe([honest, *chain])[0])


def test_a_flood_of_answers_to_one_question_is_settled_in_time() -> None:
    flood = [
        correction(n, "How?", " ".join(f"w{n * k % 997}" for k in range(1, 20)), contributor=None)
        for n in range(10, 2000)
    ]
    honest = [correction(n, "How?", "With the red lever.", contributor=f"person {n}") for n in (1, 2)]
    assert ids(believe([*honest, *flood])[0]) == [1, 2]
