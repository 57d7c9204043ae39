"""What a giver takes back: the word, the earlier ones that it replaced, and nothing else."""

from pathlib import Path

from remains import tables_with

from feedback.database import Database
from feedback.erasure.withdrawal import withdraw
from feedback.testing import House, open_house

ASKED = [{"role": "user", "content": "Which colour?"}]
WHY = {"survey": [{"id": "why", "text": "Why?", "kind": "text"}]}


def left_of(database: Database, *words: str) -> list[str]:
    return [word for word in words if tables_with(database, word)]


def test_a_survey_goes_with_those_that_it_replaced_on_other_replies_of_the_conversation(tmp_path: Path) -> None:
    with open_house(tmp_path, collect=WHY) as house:
        asked_on = [*ASKED, {"role": "assistant", "content": "Red."}, {"role": "user", "content": "And why?"}]
        first, second = house.reply(ASKED, "Red.", user="ada"), house.reply(asked_on, "So.", user="ada")
        elsewhere = house.reply("Which size?", "Tall.", user="ada")
        for completion, user, words in (
            (elsewhere, "ada", "Honolulu"),
            (elsewhere, "ada", "Reykjavik"),
            (first, "bob", "Wollongong"),
            (first, "ada", "Zanzibar"),
        ):
            house.say(completion, "survey", {"why": words}, user=user)
        withdraw(house.database, house.say(second, "survey", {"why": "Timbuktu"}).receipt)
        left = left_of(house.database, "Zanzibar", "Timbuktu", "Honolulu", "Reykjavik", "Wollongong")
        assert left == ["Honolulu", "Reykjavik", "Wollongong"]


def test_a_correction_goes_with_those_that_it_replaced_on_its_reply_alone(house: House) -> None:
    completion = house.reply(ASKED, ["Red.", "Blue."], user="ada")
    for choice, words in ((0, "Zanzibar"), (0, "Timbuktu"), (1, "Honolulu"), (1, "Reykjavik")):
        given = house.say(completion, "correction", words, choice=choice)
    withdraw(house.database, given.receipt)
    assert left_of(house.database, "Zanzibar", "Timbuktu", "Honolulu", "Reykjavik") == ["Zanzibar", "Timbuktu"]


def test_a_choice_goes_with_those_that_it_replaced_among_the_answers_to_one_message(house: House) -> None:
    completion = house.reply(ASKED, ["Red.", "Blue."], user="ada")
    for choice, words in ((0, "Zanzibar"), (1, "Timbuktu")):
        value = {"rejected": {"choice": 1 - choice}}
        given = house.say(completion, "preference", value, choice=choice, comment=words)
    withdraw(house.database, given.receipt)
    assert left_of(house.database, "Zanzibar", "Timbuktu") == []
