"""The review queue's entries on both databases: who has one and for how long, which are found, and what each shows."""

from datetime import timedelta
from typing import Any

import pytest
from reviewers import ADA, APPROVED, BOB, THREADS, at_once, corrections, decide, listed, shown
from sqlmodel import select

from feedback import assistants
from feedback.columns import now
from feedback.errors import Conflict, InvalidInput
from feedback.models import Feedback
from feedback.review import claims, queue
from feedback.review.opinions import State
from feedback.review.queue import Order, Show, Wanted
from feedback.states import FeedbackKind, FeedbackStatus
from feedback.testing import House


def quarantine(house: House, *ids: str) -> None:
    """As the curation does with what a person should look at first."""
    with house.database.write() as session:
        for public_id in ids:
            feedback = queue.get_feedback(session, public_id)
            feedback.status, feedback.status_reason = FeedbackStatus.IN_REVIEW, "copied text"


def take(house: House, actor: str, **wanted: Any) -> str | None:
    with house.database.write() as session:
        taken = claims.claim_next(session, house.assistant, Wanted(**wanted), actor=actor)
        return taken.public_id if taken else None


# ── claims ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_reviewers_at_once_never_get_the_same(house: House) -> None:
    ids = corrections(house, THREADS)
    quarantine(house, *ids)
    for _ in range(3):
        assert sorted(at_once(THREADS, lambda number: take(house, f"key:r#{number}"))) == sorted(ids)
        with house.database.write() as session:
            for feedback in session.exec(select(Feedback)):
                feedback.claimed_by = feedback.claimed_until = None
    assert set(at_once(THREADS, lambda number: take(house, f"key:r#{number}", tag="none"))) == {None}


def test_one_entry_that_all_want_goes_to_one(house: House) -> None:
    (only,) = corrections(house, 1)

    def claim(number: int) -> bool:
        try:
            with house.database.write() as session:
                claims.claim(session, queue.get_feedback(session, only), actor=f"key:r#{number}")
            return True
        except Conflict:
            return False

    assert sum(at_once(THREADS, claim)) == 1


def test_next_gives_the_same_until_it_is_decided_on_or_given_back(house: House) -> None:
    ids = corrections(house, 3)
    quarantine(house, *ids)
    assert [take(house, ADA), take(house, ADA), take(house, BOB)] == [ids[0], ids[0], ids[1]]
    decide(house, ids[0], APPROVED)
    assert take(house, ADA) == ids[2]
    with house.database.write() as session:
        claims.release(session, queue.get_feedback(session, ids[1]), actor=BOB)
        claims.release(session, queue.get_feedback(session, ids[1]), actor=BOB)
    assert take(house, BOB, after=ids[1]) is None
    assert take(house, BOB) == ids[1]


def test_who_has_it_has_it_alone_until_the_lease_runs_out(house: House) -> None:
    (only,) = corrections(house, 1)
    quarantine(house, only)
    assert take(house, ADA) == only
    assert listed(house, ADA, show=Show.MINE) == [only]
    for deed in (claims.claim, claims.release):
        with house.database.write() as session, pytest.raises(Conflict, match=ADA):
            deed(session, queue.get_feedback(session, only), actor=BOB)
    with pytest.raises(Conflict, match=ADA):
        decide(house, only, APPROVED, BOB)
    with house.database.write() as session:
        queue.get_feedback(session, only).claimed_until = now() - timedelta(seconds=1)
    assert listed(house, ADA, show=Show.MINE) == []
    assert take(house, BOB) == only
    assert decide(house, only, APPROVED, BOB) == FeedbackStatus.RECEIVED
    assert shown(house, only).claimed_by is None


def test_the_lease_is_as_long_as_the_policy_says(embedded: House) -> None:
    with embedded.database.write() as session:
        assistants.set_policies(session, embedded.assistant, {"review": {"claim_seconds": 60}}, actor="test")
    (only,) = corrections(embedded, 1)
    quarantine(embedded, only)
    before = now()
    take(embedded, ADA)
    until = shown(embedded, only).claimed_until
    assert until is not None
    assert timedelta(seconds=59) < until - before < timedelta(seconds=70)


def test_what_its_giver_replaced_is_nothing_to_decide_on(embedded: House) -> None:
    reply = embedded.reply("Which colour?", "Red.", user="ada")
    older = embedded.say(reply, "correction", "Blue.").id
    embedded.say(reply, "correction", "Green.")
    with embedded.database.write() as session, pytest.raises(Conflict, match="newer"):
        claims.claim(session, queue.get_feedback(session, older), actor=ADA)
    assert decide(embedded, older, APPROVED) == FeedbackStatus.REPLACED


# ── what is in the queue ─────────────────────────────────────────────────────────────────────────────────────


def test_the_queue_is_narrowed_by_what_was_said_by_whom_and_about_what(house: House) -> None:
    tent = house.reply("How big is the tent?", ["Tall.", "Small."], user="ada")
    said = {
        "rating": house.say(tent, "rating", 1, tags=("Spring", "öl")).id,
        "comment": house.say(tent, "comment", "100% too short_").id,
        "correction": house.say(house.reply("Wie heißt das?", "Straße."), "correction", "Gaße.").id,
        "preference": house.say(tent, "preference", {"rejected": {"choice": 1}}).id,
        "report": house.say(tent, "report", "bias", comment="Unfair.").id,
    }
    everything = list(said.values())
    assert listed(house, show=Show.ALL) == listed(house, show=Show.UNREVIEWED) == everything
    assert listed(house) == [said["report"]]
    assert listed(house, status=FeedbackStatus.RECEIVED) == everything[:-1]
    for kind, public_id in said.items():
        assert listed(house, show=Show.ALL, kind=FeedbackKind(kind)) == [public_id]
    for wanted, found in {
        ("tag", "Spring"): ["rating"],
        ("tag", "öl"): ["rating"],
        ("tag", "Spr"): [],
        ("category", "bias"): ["report"],
        ("category", "abuse"): [],
        ("search", "100% TOO"): ["comment"],
        ("search", "short_"): ["comment"],
        ("search", "Gaße"): ["correction"],
        ("search", "heißt"): ["correction"],
        ("search", "straße"): ["correction"],
        ("search", "big is"): ["rating", "comment", "preference", "report"],
        ("search", "unfair"): ["report"],
        ("search", "content"): [],
    }.items():
        assert listed(house, show=Show.ALL, **dict([wanted])) == [said[name] for name in found], wanted
    contributor = shown(house, said["rating"]).contributor
    assert listed(house, show=Show.ALL, contributor=contributor) == [
        said[kind] for kind in said if kind != "correction"
    ]
    by_value = [said[kind] for kind in ("correction", "preference", "report", "rating", "comment")]
    assert listed(house, show=Show.ALL, order=Order.VALUE) == by_value
    for order, ids in ((Order.OLDEST, everything), (Order.VALUE, by_value)):
        for position, public_id in enumerate(ids):
            assert listed(house, show=Show.ALL, order=order, after=public_id) == ids[position + 1 :]
    with pytest.raises(InvalidInput) as refused:
        listed(house, after="fb-nothing")
    assert refused.value.param == "after"


def test_an_entry_has_all_that_one_decides_by(house: House) -> None:
    reply = house.reply("How big is the tent?", ["Tall.", "Small."], user="ada")
    chosen = house.say(reply, "preference", {"rejected": {"choice": 1}}, comment="Clearly.", tags=("tents",))
    entry = shown(house, chosen.id)
    assert (entry.reply, entry.other_reply) == ("Tall.", "Small.")
    assert entry.conversation == [{"role": "user", "content": "How big is the tent?"}]
    assert (entry.guidelines.version, entry.guidelines.text, entry.guidelines_then) == (1, "Answer briefly.", 1)
    assert (entry.completion_id, entry.choice, entry.comment, entry.tags) == (reply, 0, "Clearly.", ["tents"])
    assert (entry.state, entry.why, entry.case) == (State.UNREVIEWED, "Nobody has looked at it.", None)
    reported = shown(house, house.say(reply, "report", "bias").id)
    assert reported.case is not None
    assert (reported.case.category, reported.why) == ("bias", "Somebody reported the reply: bias.")
    quarantine(house, chosen.id)
    assert shown(house, chosen.id).why == "copied text"
