"""Decisions on both databases: what they let be learned, edits, second opinions, and how reviewers agree."""

from datetime import UTC, datetime
from typing import Any

import pytest
from reviewers import ADA, APPROVED, BOB, CYD, EDITED, REJECTED, at_once, corrections, decide, listed, shown
from sqlmodel import select

from feedback import assistants, datasets, review, runs
from feedback.collect import receipts
from feedback.errors import Conflict, InvalidInput
from feedback.gather import gather
from feedback.models import AuditEntry, Feedback
from feedback.review import agreement, queue
from feedback.review.decisions import is_picked
from feedback.review.opinions import State
from feedback.review.queue import Show
from feedback.states import FeedbackStatus, ReviewDecision
from feedback.testing import House

TALL = {"content": "It is 330 m tall.", "key_facts": ["330 m"]}


def ask_second(house: House, public_id: str) -> None:
    with house.database.write() as session:
        review.ask_second_opinion(session, queue.get_feedback(session, public_id), actor=ADA)


def learned(house: House) -> list[tuple[str | None, tuple[str, ...]]]:
    with house.database.read() as session:
        return [(item.correction, item.key_facts) for item in gather(session, house.assistant)]


# ── decisions ────────────────────────────────────────────────────────────────────────────────────────────────


def learn_from(house: House) -> set[str]:
    """Make a dataset of what was said, as a run does; returns what is in it."""
    with house.database.write() as session:
        run = runs.request(session, house.assistant, "a test", actor="test")
    with house.database.read() as session:
        curated = datasets.curate_material(datasets.gather_material(session, house.reload()))
    datasets.tell_givers(house.database, curated)
    with house.database.write() as session:
        run = runs.get_run(session, run.id)
        hashes = [bytes(32)] * len(curated.rows)
        datasets.record(session, house.assistant, run, datasets.Frozen(curated, hashes, "0" * 64, {}))
        runs.cancel(session, run.id, actor="test")
        used = {number for made in curated.rows for number in made.feedback_ids}
        return {session.get_one(Feedback, number).public_id for number in used}


def test_what_is_quarantined_is_learned_from_once_approved_and_never_once_rejected(house: House) -> None:
    """The curation holds a lone person's new facts back, again and again, until a person decides."""
    with house.database.write() as session:
        assistants.set_policies(session, house.assistant, {"trust": {"min_voices": 2}}, actor="test")
    approved, rejected, waiting = (
        house.correct(f"{letter * 8}?", "No.", f"Yes {letter * 3}.", user="ada").id for letter in "abc"
    )
    learn_from(house)
    assert {shown(house, one).status for one in (approved, rejected, waiting)} == {FeedbackStatus.IN_REVIEW}
    assert shown(house, waiting).why == "a new fact that fewer than 2 people told us."
    assert decide(house, approved, APPROVED) == FeedbackStatus.RECEIVED
    assert decide(house, rejected, REJECTED) == FeedbackStatus.DECLINED
    assert learn_from(house) == {approved}
    assert [shown(house, one).status for one in (approved, rejected, waiting)] == [
        FeedbackStatus.RECEIVED,
        FeedbackStatus.DECLINED,
        FeedbackStatus.IN_REVIEW,
    ]
    assert listed(house) == [waiting]


def test_mended_words_are_what_is_learned(house: House) -> None:
    given = house.correct("How tall is it?", "No idea.", "It is 3300 m tall.", "3300 m")
    decide(house, given.id, EDITED, edited=TALL, note="A zero too many.", comment="Look out for this one.")
    assert learned(house) == [("It is 330 m tall.", ("330 m",))]
    with house.database.read() as session:
        (counting,) = review.latest_reviews(session, [queue.get_feedback(session, given.id).id]).values()
        assert counting == (EDITED, TALL)
        assert receipts.look_up(session, given.receipt).note == "A zero too many."
    assert decide(house, given.id, APPROVED) == FeedbackStatus.RECEIVED  # on second thoughts
    assert learned(house) == [("It is 3300 m tall.", ("3300 m",))]


def test_mended_words_hold_as_long_as_the_givers_unless_they_say_otherwise(house: House) -> None:
    asked = house.reply("Is there a sale?", "No.")
    given = house.say(asked, "correction", {"content": "Til Sunday.", "expires_at": "2027-02-01"})
    until = datetime(2027, 2, 1, tzinfo=UTC).timestamp()

    def held_until() -> list[float | None]:
        with house.database.read() as session:
            return [item.expires_at for item in gather(session, house.assistant)]

    assert held_until() == [until]
    decide(house, given.id, EDITED, edited="Until Sunday.")
    assert held_until() == [until]
    decide(house, given.id, EDITED, edited={"content": "Until Monday.", "expires_at": "2027-02-02"})
    assert held_until() == [until + 86_400]
    decide(house, given.id, EDITED, edited={"content": "Every day.", "expires_at": None})
    assert held_until() == [None]


@pytest.mark.parametrize(
    ("decision", "edited", "param"),
    [
        (EDITED, None, "edited"),
        (APPROVED, TALL, "edited"),
        (EDITED, {"content": "It is tall.", "key_facts": ["330 m"]}, "value"),
        (EDITED, {"content": ""}, "value"),
        (EDITED, {"content": "x" * 20_001}, "value"),
    ],
)
def test_words_out_of_form_are_refused(embedded: House, decision: ReviewDecision, edited: Any, param: str) -> None:
    (given,) = corrections(embedded, 1)
    with pytest.raises(InvalidInput) as refused:
        decide(embedded, given, decision, edited=edited)
    assert refused.value.param == param
    assert shown(embedded, given).state == State.UNREVIEWED


def test_only_corrections_have_words_to_edit(embedded: House) -> None:
    rated = embedded.say(embedded.reply("How tall?", "Tall."), "rating", 1)
    with pytest.raises(InvalidInput, match="a rating"):
        decide(embedded, rated.id, EDITED, edited=TALL)


def test_the_audit_log_has_every_decision_and_no_words(embedded: House) -> None:
    given = embedded.correct("How tall is it?", "No idea.", "It is 3300 m tall.")
    decide(embedded, given.id, EDITED, edited=TALL, note="A zero too many.", comment="Look out.")
    with embedded.database.read() as session:
        (entry,) = session.exec(select(AuditEntry).where(AuditEntry.action == "feedback.review"))
    assert (entry.actor, entry.subject) == (ADA, given.id)
    assert entry.details == {"decision": "edited", "final": False}


# ── second opinions ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_second_opinion_is_given_unseen_and_until_then_nothing_is_learned(house: House) -> None:
    given = house.correct("Which colour?", "Red.", "Blue.")
    ask_second(house, given.id)
    assert learned(house) == []
    decide(house, given.id, APPROVED, ADA, note="Right!", comment="Seen it myself.")
    assert learned(house) == []
    assert listed(house, ADA, show=Show.SECOND_OPINION) == listed(house, ADA) == []
    assert listed(house, BOB, show=Show.SECOND_OPINION) == listed(house, BOB) == [given.id]
    mine, unseen = shown(house, given.id, ADA), shown(house, given.id, BOB)
    assert [one.comment for one in mine.reviews] == ["Seen it myself."]
    assert (unseen.reviews, unseen.reviews_hidden, unseen.state) == ([], True, State.AWAITING_SECOND)
    with house.database.read() as session:
        told = receipts.look_up(session, given.receipt)
    assert (told.status, told.note) == ("in_review", None)  # nobody's word yet
    assert decide(house, given.id, APPROVED, BOB, note="Thanks.") == FeedbackStatus.RECEIVED
    assert [one.by for one in shown(house, given.id, CYD).reviews] == [ADA, BOB]
    assert learned(house) == [("Blue.", ())]
    with house.database.read() as session:
        assert receipts.look_up(session, given.receipt).note == "Thanks."


def test_two_who_disagree_put_it_to_a_third(house: House) -> None:
    (given,) = corrections(house, 1)
    ask_second(house, given)
    decide(house, given, APPROVED, ADA)
    assert decide(house, given, REJECTED, BOB) == FeedbackStatus.IN_REVIEW
    entry = shown(house, given, CYD)
    assert (entry.state, entry.why, entry.reviews_hidden) == (
        State.DISPUTED,
        "Two people disagree about it: a third one decides.",
        False,
    )
    assert (listed(house, ADA), listed(house, BOB), listed(house, CYD)) == ([], [], [given])
    assert decide(house, given, REJECTED, CYD, note="Bob is right.") == FeedbackStatus.DECLINED
    with house.database.read() as session:
        assert review.latest_decisions(session, [queue.get_feedback(session, given).id]) == {
            queue.get_feedback(session, given).id: REJECTED
        }


def test_a_final_word_settles_a_dispute_and_stands_against_reviewers(house: House) -> None:
    (given,) = corrections(house, 1)
    decide(house, given, APPROVED, ADA)
    assert decide(house, given, REJECTED, BOB) == FeedbackStatus.IN_REVIEW  # nobody asked for a second, but they differ
    assert decide(house, given, APPROVED, ADA, final=True) == FeedbackStatus.RECEIVED
    with pytest.raises(Conflict, match="settled this for good"):
        decide(house, given, REJECTED, CYD)
    assert decide(house, given, REJECTED, CYD, final=True) == FeedbackStatus.DECLINED


def test_the_policys_share_is_chosen_by_hash_and_never_of_what_teaches_nothing(embedded: House) -> None:
    with embedded.database.write() as session:
        changes = {"review": {"second_opinion_fraction": 0.5}}
        assistants.set_policies(session, embedded.assistant, changes, actor="test")
    embedded.reload()
    ids = corrections(embedded, 20)
    for public_id in ids:
        status = decide(embedded, public_id, APPROVED)
        assert (status == FeedbackStatus.IN_REVIEW) == is_picked(public_id, 0.5)
    assert 0 < len(listed(embedded, BOB)) < 20
    with embedded.database.write() as session:
        changes = {"review": {"second_opinion_fraction": 1}}
        assistants.set_policies(session, embedded.assistant, changes, actor="test")
    comment = embedded.say(embedded.reply("How tall?", "Tall."), "comment", "Hm.")
    assert decide(embedded, comment.id, APPROVED) == FeedbackStatus.RECEIVED


def test_two_opinions_at_once_are_both_heard(house: House) -> None:
    for given in corrections(house, 4):
        ask_second(house, given)
        said = (APPROVED, REJECTED)
        at_once(2, lambda number, given=given, said=said: decide(house, given, said[number], f"key:r#{number}"))  # type: ignore[misc]
        assert shown(house, given).state == State.DISPUTED


def test_the_curation_leaves_alone_what_is_not_settled(house: House) -> None:
    settled, awaiting, disputed, asked = corrections(house, 4)
    decide(house, settled, APPROVED)
    for public_id in (awaiting, asked):
        ask_second(house, public_id)
    decide(house, awaiting, APPROVED)
    decide(house, disputed, APPROVED, ADA)
    decide(house, disputed, REJECTED, BOB)
    assert learn_from(house) == {settled}
    assert {shown(house, one).state for one in (awaiting, disputed, asked)} == {
        State.AWAITING_SECOND,
        State.DISPUTED,
        State.UNREVIEWED,
    }
    assert {shown(house, one).status for one in (awaiting, disputed, asked)} == {FeedbackStatus.IN_REVIEW}


# ── agreement ────────────────────────────────────────────────────────────────────────────────────────────────


def test_agreement_is_over_what_two_decided_unseen(house: House) -> None:
    ids = corrections(house, 6)
    said = [(ADA, BOB, True, True)] * 2 + [(BOB, ADA, False, False), (ADA, BOB, True, False)]
    for public_id, (first, second, yes, too) in zip(ids, said, strict=False):
        ask_second(house, public_id)
        for actor, approves in ((first, yes), (second, too)):
            decide(house, public_id, APPROVED if approves else REJECTED, actor)
    decide(house, ids[3], APPROVED, CYD)  # a third one saw the others
    decide(house, ids[4], APPROVED, ADA)
    decide(house, ids[4], REJECTED, BOB)  # so did he, who wasn't asked
    ask_second(house, ids[5])
    decide(house, ids[5], APPROVED, ADA)  # still alone
    House(house.settings, house.database, "school").correct("Which size?", "Tall.", "Small.")
    with house.database.read() as session:
        overall, pairs = agreement.agreement(session, house.assistant)
    # p_o = 3/4; ada says yes to 3/4, bob to 2/4: p_e = 3/8 + 1/8; κ = 0.25 / 0.5
    assert (overall.n, overall.agreed, overall.kappa) == (4, 3, pytest.approx(0.5))
    assert overall.low is not None
    assert overall.high is not None
    assert -1 <= overall.low < 0.5 < overall.high <= 1
    assert [(pair.reviewers, pair.agreement) for pair in pairs] == [((ADA, BOB), overall)]


def test_without_opinions_there_is_no_kappa(embedded: House) -> None:
    with embedded.database.read() as session:
        overall, pairs = agreement.agreement(session, embedded.assistant)
    assert (overall.n, overall.kappa, pairs) == (0, None, [])
