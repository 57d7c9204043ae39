"""The review queue on both databases: claims, second opinions, edits that are learned, and how reviewers agree."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlmodel import col, select

from feedback import assistants, cases, datasets, review, runs
from feedback.collect import receipts
from feedback.columns import now
from feedback.errors import Conflict, InvalidInput
from feedback.gather import gather
from feedback.models import AuditEntry, Feedback, Review
from feedback.review import agreement, case_files, claims, entries, queue, reports
from feedback.review.decisions import is_picked
from feedback.review.entries import Entry
from feedback.review.opinions import State
from feedback.review.queue import Order, Show, Wanted
from feedback.states import CaseOutcome, CaseStatus, FeedbackKind, FeedbackStatus, ReviewDecision
from feedback.testing import House

ADA, BOB, CYD = "key:ada#1", "key:bob#2", "key:cyd#3"
APPROVED, EDITED, REJECTED = ReviewDecision.APPROVED, ReviewDecision.EDITED, ReviewDecision.REJECTED
TALL = {"content": "It is 330 m tall.", "key_facts": ["330 m"]}
THREADS = 8


def corrections(house: House, count: int) -> list[str]:
    return [house.correct(f"{chr(97 + number) * 8}?", "No.", f"Yes {number}.").id for number in range(count)]


def quarantine(house: House, *ids: str) -> None:
    """As the curation does with what a person should look at first."""
    with house.database.write() as session:
        for public_id in ids:
            feedback = queue.get_feedback(session, public_id)
            feedback.status, feedback.status_reason = FeedbackStatus.IN_REVIEW, "copied text"


def decide(house: House, public_id: str, decision: ReviewDecision, actor: str = ADA, **more: Any) -> FeedbackStatus:
    with house.database.write() as session:
        feedback = queue.get_feedback(session, public_id)
        review.decide(session, feedback, decision, actor=actor, **more)
        return feedback.status


def ask_second(house: House, public_id: str) -> None:
    with house.database.write() as session:
        review.ask_second_opinion(session, queue.get_feedback(session, public_id), actor=ADA)


def take(house: House, actor: str, **wanted: Any) -> str | None:
    with house.database.write() as session:
        taken = claims.claim_next(session, house.assistant, Wanted(**wanted), actor=actor)
        return taken.public_id if taken else None


def listed(house: House, actor: str = ADA, **wanted: Any) -> list[str]:
    with house.database.read() as session:
        return [
            one.public_id for one in session.exec(queue.chosen(session, house.assistant, Wanted(**wanted), actor=actor))
        ]


def shown(house: House, public_id: str, actor: str = ADA) -> Entry:
    with house.database.read() as session:
        return entries.entry(session, queue.get_feedback(session, public_id), actor=actor)


def learned(house: House) -> list[tuple[str | None, tuple[str, ...]]]:
    with house.database.read() as session:
        return [(item.correction, item.key_facts) for item in gather(session, house.assistant)]


def at_once(count: int, deed: Callable[[int], Any]) -> list[Any]:
    start = Barrier(count)

    def wait_and_do(number: int) -> Any:
        start.wait()
        return deed(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(wait_and_do, range(count)))


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


# ── cases ────────────────────────────────────────────────────────────────────────────────────────────────────


def change(house: House, case_id: str, actor: str = ADA, **changes: Any) -> None:
    with house.database.write() as session:
        reports.change(session, cases.get_case(session, case_id, lock=True), actor=actor, **changes)


def the_case(house: House) -> Any:
    with house.database.read() as session:
        (case,) = cases.list_cases(session, house.assistant)
    return case


def told(house: House, receipt: str) -> tuple[str, str, str | None]:
    with house.database.read() as session:
        found = receipts.look_up(session, receipt)
    return found.status, found.detail, found.note


def test_a_case_goes_from_open_to_resolved_and_its_reporters_read_the_answer(house: House) -> None:
    reply = house.reply("Which colour?", "Red.")
    first = house.say(reply, "report", "abuse", comment="Rude!")
    assert told(house, first.receipt) == ("in_review", "Your report has opened a case; a person looks into it.", None)
    case = the_case(house)
    change(house, case.public_id, status=CaseStatus.INVESTIGATING, note="Asked the team.", category="bias")
    assert (the_case(house).assignee, the_case(house).category) == (ADA, "bias")
    assert told(house, first.receipt)[1] == "A person is looking into it."
    with pytest.raises(Conflict, match=ADA):
        change(house, case.public_id, BOB, status=CaseStatus.RESOLVED, outcome=CaseOutcome.UPHELD)
    with pytest.raises(Conflict, match=ADA):
        decide(house, first.id, APPROVED, BOB)
    change(house, case.public_id, status=CaseStatus.RESOLVED, outcome=CaseOutcome.UPHELD, answer="You're right.")
    assert told(house, first.receipt)[::2] == ("resolved", "You're right.")

    second = house.say(reply, "report", "wrong")
    assert (the_case(house).public_id, the_case(house).status) == (case.public_id, CaseStatus.OPEN)
    assert told(house, second.receipt) == ("in_review", "Your report has opened a case; a person looks into it.", None)
    assert told(house, first.receipt) == ("in_review", "It is being looked at again.", "You're right.")
    decide(house, second.id, REJECTED, BOB, note="It is fine now.")
    assert (the_case(house).status, the_case(house).outcome) == (CaseStatus.RESOLVED, CaseOutcome.DISMISSED)
    assert told(house, second.receipt)[::2] == told(house, first.receipt)[::2] == ("declined", "It is fine now.")
    assert [note["text"] for note in the_case(house).notes] == ["Asked the team."]

    with house.database.read() as session:
        audit = session.exec(select(AuditEntry).where(col(AuditEntry.action).startswith("case."))).all()
    assert [entry.action for entry in audit] == [
        "case.open",
        "case.category",
        "case.note",
        "case.take",
        "case.resolve",
        "case.reopen",
        "case.resolve",
    ]
    assert "right" not in str([entry.details for entry in audit])


def test_who_disagrees_about_a_settled_report_opens_its_case_again(house: House) -> None:
    given = house.say(house.reply("Which colour?", "Red."), "report", "abuse")
    decide(house, given.id, APPROVED, ADA)
    assert the_case(house).status == CaseStatus.RESOLVED
    assert decide(house, given.id, REJECTED, BOB) == FeedbackStatus.IN_REVIEW
    assert the_case(house).status == CaseStatus.OPEN
    decide(house, given.id, REJECTED, CYD)
    assert (the_case(house).status, the_case(house).outcome) == (CaseStatus.RESOLVED, CaseOutcome.DISMISSED)


def test_a_report_that_somebody_looks_into_waits_for_nobody_else(house: House) -> None:
    given = house.say(house.reply("Which colour?", "Red."), "report", "abuse")
    change(house, the_case(house).public_id, status=CaseStatus.INVESTIGATING)
    assert (listed(house, ADA), listed(house, BOB)) == ([given.id], [])


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"status": CaseStatus.RESOLVED}, "outcome"),
        ({"outcome": CaseOutcome.UPHELD}, "outcome"),
        ({"answer": "Thanks."}, "answer"),
        ({"category": "boredom"}, "category"),
    ],
)
def test_changes_of_a_case_that_make_no_sense_are_refused(embedded: House, changes: dict[str, Any], param: str) -> None:
    embedded.say(embedded.reply("Which colour?", "Red."), "report", "abuse")
    with pytest.raises(InvalidInput) as refused:
        change(embedded, the_case(embedded).public_id, **changes)
    assert refused.value.param == param


def test_reports_at_once_about_one_reply_open_one_case(house: House) -> None:
    reply = house.reply("Which colour?", "Red.")
    at_once(THREADS, lambda number: house.say(reply, "report", "abuse", user=f"u{number}"))
    with house.database.read() as session:
        assert len(cases.reports_of(session, the_case(house))) == THREADS


def test_a_flood_of_reports_shows_its_newest_and_how_many_there_are(
    embedded: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(case_files, "SHOWN_REPORTS", 3)
    asked = embedded.reply("How tall?", "Tall.")
    reported = [embedded.say(asked, "report", "abuse", comment=str(n), anonymous=True) for n in range(5)]
    with embedded.database.read() as session:
        (shown,) = case_files.read(session, [the_case(embedded)])
    assert ([one.comment for one in shown.reports], shown.reports_total) == (["2", "3", "4"], 5)
    resolved = {"status": CaseStatus.RESOLVED, "outcome": CaseOutcome.UPHELD, "answer": "Gone."}
    change(embedded, the_case(embedded).public_id, **resolved)
    assert [told(embedded, one.receipt)[0] for one in reported] == ["resolved"] * 5


def test_deciding_on_a_report_and_on_its_case_at_once_ends_in_one_of_both(house: House) -> None:
    for number in range(4):
        given = house.say(house.reply(f"Question {number}?", "Red."), "report", "abuse")
        with house.database.read() as session:
            case = cases.of_reply(session, queue.get_feedback(session, given.id).message_id)
        assert case is not None

        def deed(turn: int, given: str = given.id, case_id: str = case.public_id) -> None:
            if turn:
                change(house, case_id, BOB, status=CaseStatus.RESOLVED, outcome=CaseOutcome.UPHELD, take_over=True)
            else:
                decide(house, given, REJECTED, ADA, final=True)

        at_once(2, deed)
        with house.database.read() as session:
            found = cases.get_case(session, case.public_id)
            upheld = found.outcome == CaseOutcome.UPHELD
            status = queue.get_feedback(session, given.id).status
            assert status == (FeedbackStatus.RECEIVED if upheld else FeedbackStatus.DECLINED)
            counting = session.exec(
                select(Review).where(
                    col(Review.counts).is_(True), Review.feedback_id == queue.get_feedback(session, given.id).id
                )
            ).one()
            assert (counting.decision == APPROVED) == upheld
