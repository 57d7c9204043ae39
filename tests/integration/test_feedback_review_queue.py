"""What the queue gives out and what counts as unseen, where entries were settled, replaced or skipped before."""

import pytest

from feedback import review
from feedback.review import agreement, claims, entries, queue
from feedback.review.queue import Show, Wanted
from feedback.states import ReviewDecision
from feedback.testing import House

ADA, BOB, CYD = "key:ada#1", "key:bob#2", "key:cyd#3"
APPROVED, REJECTED = ReviewDecision.APPROVED, ReviewDecision.REJECTED


def decide(house: House, public_id: str, decision: ReviewDecision, actor: str, *, second: bool = False) -> None:
    """As one call over HTTP does."""
    with house.database.write() as session:
        feedback = queue.get_feedback(session, public_id)
        if second:
            review.ask_second_opinion(session, feedback, actor=actor)
        review.decide(session, feedback, decision, actor=actor)


def take(house: House, actor: str, show: Show) -> str | None:
    with house.database.write() as session:
        taken = claims.claim_next(session, house.assistant, Wanted(show=show), actor=actor)
        return taken.public_id if taken else None


def compared(house: House) -> int:
    with house.database.read() as session:
        return agreement.agreement(session, house.assistant)[0].n


@pytest.mark.parametrize("asks", [BOB, ADA])
def test_who_could_see_a_settled_decision_gives_no_unseen_second_one(house: House, asks: str) -> None:
    given = house.correct("Which colour?", "Red.", "Blue.").id
    decide(house, given, APPROVED, ADA)
    with house.database.read() as session:
        assert not entries.entry(session, queue.get_feedback(session, given), actor=BOB).reviews_hidden
    if asks == ADA:
        decide(house, given, REJECTED, ADA, second=True)  # on second thoughts
    decide(house, given, APPROVED, BOB, second=asks == BOB)
    decide(house, given, REJECTED, CYD)
    assert compared(house) == 0


def test_whose_decision_was_never_in_sight_may_think_again_and_is_compared(house: House) -> None:
    given = house.correct("Which colour?", "Red.", "Blue.").id
    decide(house, given, APPROVED, ADA, second=True)
    decide(house, given, REJECTED, ADA)
    decide(house, given, APPROVED, BOB)
    assert compared(house) == 1


@pytest.mark.parametrize("show", [Show.ALL, Show.MINE, Show.UNREVIEWED])
def test_what_its_giver_replaced_is_given_out_no_more_not_even_to_who_holds_it(house: House, show: Show) -> None:
    asked = house.reply("Which colour?", "Red.", user="ada")
    first = house.say(asked, "correction", "Blue.").id
    assert take(house, BOB, Show.ALL) == first
    second = house.say(asked, "correction", "Green.").id
    assert take(house, BOB, show) == (None if show == Show.MINE else second)
    assert take(house, CYD, Show.ALL) == (second if show == Show.MINE else None)
