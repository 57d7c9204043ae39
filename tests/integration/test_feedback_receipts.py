"""Lineage both ways, and what receipts tell of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from freezing import claim, freeze, learn, person, record, register, rows_in, status_of, told
from sqlmodel import select

from feedback import assistants, datasets, files, lineage, releases, review
from feedback.collect import receipts
from feedback.gather import gather
from feedback.models import Example
from feedback.review import listing
from feedback.review.listing import Sought
from feedback.run_folder import SPLITS
from feedback.states import FeedbackStatus, ReviewDecision, Side
from feedback.testing import House, open_house


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[House]:
    """A deployment on SQLite alone, for what doesn't depend on the kind of database."""
    with open_house(tmp_path, training={"min_preference_pairs": 2}) as house:
        yield house


def test_receipts_follow_feedback_from_received_to_live_and_back(house: House) -> None:
    taught = house.correct("Which colour?", "Red.", "Blue.", user=person(house, Side.TRAIN))
    judging = house.correct("What size is it?", "Tall.", "Small.", user=person(house, Side.GATE))
    useless = house.correct("How long is it?", "Long.", "long", user=person(house, Side.TRAIN, 1))
    assert [told(house, given.receipt)[0] for given in (taught, judging, useless)] == ["received"] * 3

    held = claim(house)
    assert record(house, held, freeze(house, held.run_id)[1]) == 1
    assert told(house, taught.receipt) == ("used", "Used in dataset v1.")
    assert told(house, judging.receipt)[0] == "used"
    assert told(house, useless.receipt) == (
        "declined",
        "Not learned from: the correction says what the reply said.",
    )

    version = register(house, held)
    assert told(house, taught.receipt) == ("learned", "Learned by support@1.")
    assert told(house, judging.receipt)[1].startswith("Used to judge support@1; kept out of training")

    with house.database.write() as session:
        releases.promote(session, house.assistant, version, actor="test", reason="a test", force=True)
    status, words = told(house, taught.receipt)
    assert status == "live"
    assert words.startswith("Learned by support@1, which has been answering since 2")
    assert told(house, judging.receipt)[0] == "used"

    with house.database.write() as session:
        releases.roll_back(session, house.assistant, actor="test", reason="a test")
    assert told(house, taught.receipt)[0] == "learned"


def test_lineage_is_walkable_both_ways(house: House) -> None:
    taught = [house.correct(f"{c * 8}?", "No.", f"Yes {c}.", user=person(house, Side.TRAIN)) for c in "abc"]
    house.correct("What size is it?", "Tall.", "Small.", user=person(house, Side.GATE))
    version = learn(house)
    with house.database.read() as session:
        ids = [review.get_feedback(session, given.id).id for given in taught]
        assert all(lineage.reach_of(session, one).version == "support@1" for one in ids)
        (dataset,) = datasets.list_datasets(session, house.assistant)
        behind = {one.id: {use.side for use in uses} for one, uses in lineage.page_of(session, dataset.id)}
        assert {one for one, sides in behind.items() if Side.TRAIN in sides} == set(ids)
        examples = session.exec(select(Example).where(Example.dataset_version_id == dataset.id)).all()
    folder = house.settings.runs / str(version.run_id)
    rows = {(row["id"], split) for split in SPLITS for row in rows_in(folder, split)}
    assert {(example.row_id, example.side.value) for example in examples} == rows
    assert dataset.sha256 == files.read_json(folder / "run.json")["dataset_sha256"]


def test_a_receipt_tells_how_a_trial_of_what_learned_it_went(embedded: House) -> None:
    taught = embedded.correct("Which colour?", "Red.", "Blue.", user=person(embedded, Side.TRAIN))
    first = learn(embedded)
    with embedded.database.write() as session:
        assistants.set_policies(session, embedded.reload(), {"release": {"canary_percents": [10]}}, actor="test")
    with embedded.database.write() as session:
        releases.promote(session, embedded.reload(), first, actor="test", reason="a test", force=True)
    trial = "Learned by support@1, which is on trial: it answers in 10 % of the conversations."
    assert told(embedded, taught.receipt) == ("learned", trial)
    with embedded.database.write() as session:
        releases.roll_back(session, embedded.reload(), actor="test", reason="a test")
    assert told(embedded, taught.receipt) == ("learned", "Learned by support@1, which was tried and taken back.")


def test_a_receipt_names_the_version_that_is_live_else_the_newest(embedded: House) -> None:
    taught = embedded.correct("Which colour?", "Red.", "Blue.", user=person(embedded, Side.TRAIN))
    first, second = learn(embedded), learn(embedded)
    assert told(embedded, taught.receipt) == ("learned", "Learned by support@2.")
    for version in (first, second):
        with embedded.database.write() as session:
            releases.promote(session, embedded.assistant, version, actor="test", reason="a test", force=True)
        assert f"support@{version.number}, which" in told(embedded, taught.receipt)[1]
    with embedded.database.write() as session:
        releases.roll_back(session, embedded.assistant, actor="test", reason="a test")
    assert "support@1, which" in told(embedded, taught.receipt)[1]


def test_what_no_method_trained_on_is_not_called_learned(embedded: House) -> None:
    user = person(embedded, Side.TRAIN)
    rated = embedded.say(embedded.reply("Which size?", "Tall.", user=user), "rating", 1)
    embedded.correct("Which colour?", "Red.", "Blue.", user=user)
    learn(embedded)
    status, words = told(embedded, rated.receipt)
    assert status == "declined"
    assert "min_ratings" in words


def test_a_reviewers_no_keeps_feedback_out_and_its_note_is_told(embedded: House) -> None:
    user = person(embedded, Side.TRAIN)
    turned_down = embedded.correct("Which colour?", "Red.", "Blue.", user=user)
    embedded.correct("What size is it?", "Tall.", "Small.", user=user)
    with embedded.database.write() as session:
        feedback = review.get_feedback(session, turned_down.id)
        review.decide(session, feedback, ReviewDecision.REJECTED, note="It is red.", actor="test")
    assert told(embedded, turned_down.receipt) == ("declined", "Not learned from: It is red.")
    learn(embedded)
    assert told(embedded, turned_down.receipt) == ("declined", "Not learned from: It is red.")
    with embedded.database.write() as session:
        assert receipts.look_up(session, turned_down.receipt).note == "It is red."
        feedback = review.get_feedback(session, turned_down.id)
        review.decide(session, feedback, ReviewDecision.APPROVED, note="It is blue after all.", actor="test")
    assert told(embedded, turned_down.receipt)[0] == "received"
    learn(embedded)
    assert told(embedded, turned_down.receipt) == ("learned", "Learned by support@2.")


def test_a_word_replaced_while_the_dataset_was_frozen_stays_replaced(house: House) -> None:
    completion = house.reply("Which colour?", "Red.", user=person(house, Side.TRAIN))
    earlier = house.say(completion, "correction", "Blue.")
    held = claim(house)
    _, frozen = freeze(house, held.run_id)
    newer = house.say(completion, "correction", "Green.")
    record(house, held, frozen)
    assert status_of(house, earlier.id) == FeedbackStatus.REPLACED
    assert status_of(house, newer.id) == FeedbackStatus.RECEIVED
    with house.database.read() as session:
        assert [item.correction for item in gather(session, house.assistant)] == ["Green."]


def test_a_word_turned_down_while_the_dataset_was_frozen_stays_declined(embedded: House) -> None:
    given = embedded.correct("Which colour?", "Red.", "Blue.", user=person(embedded, Side.TRAIN))
    held = claim(embedded)
    _, frozen = freeze(embedded, held.run_id)
    with embedded.database.write() as session:
        feedback = review.get_feedback(session, given.id)
        review.decide(session, feedback, ReviewDecision.REJECTED, note="No.", actor="test")
    record(embedded, held, frozen)
    assert status_of(embedded, given.id) == FeedbackStatus.DECLINED


def test_what_the_curation_declined_is_looked_at_again(embedded: House) -> None:
    user = person(embedded, Side.TRAIN)
    choices = [embedded.reply(f"{letter * 8}?", ["Yes.", "No."], user=user) for letter in "ab"]
    first = embedded.say(choices[0], "preference", {"rejected": {"choice": 1}})
    embedded.say(embedded.reply("cccccccc?", "", user=user), "correction", "Yes.")  # makes no pair
    learn(embedded)
    assert told(embedded, first.receipt)[0] == "declined"  # a pair is too few
    embedded.say(choices[1], "preference", {"rejected": {"choice": 1}})
    learn(embedded)
    assert told(embedded, first.receipt) == ("learned", "Learned by support@2.")


def test_what_one_person_alone_says_is_held_back_until_another_says_it_or_a_reviewer_approves(house: House) -> None:
    with house.database.write() as session:
        assistants.set_policies(session, house.reload(), {"trust": {"min_voices": 2}}, actor="test")
    ada, bob = (person(house, Side.TRAIN, number) for number in (0, 1))
    fact, other = (
        house.correct("Which colour is it?", "Red.", "It is blue.", "blue", user=ada),
        house.correct("How large is it?", "Small.", "It is large.", "large", user=ada),
    )
    known = house.correct("Is it new?", "Yes, it is new, I think.", "It is new.", user=ada)  # tells nothing new
    held = "Held back for now, for a person to look at: a new fact that fewer than 2 people told us."
    learn(house)
    assert [told(house, given.receipt) for given in (fact, other)] == [("in_review", held)] * 2
    assert told(house, known.receipt) == ("learned", "Learned by support@1.")
    with house.database.read() as session:
        waiting = listing.newest(session, house.assistant, Sought(status=FeedbackStatus.IN_REVIEW), limit=50).rows
    assert [one.public_id for one in waiting] == [other.id, fact.id]

    house.correct("Tell me its colour.", "Green?", "Its colour is blue.", "blue", user=bob)
    with house.database.write() as session:
        review.decide(session, review.get_feedback(session, other.id), ReviewDecision.APPROVED, note=None, actor="test")
    learn(house)
    assert [told(house, given.receipt)[0] for given in (fact, other)] == ["learned"] * 2
