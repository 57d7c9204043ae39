"""Feedback comes in: what is stored, replaced, repeated and refused, and when a run becomes due."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlmodel import select

from feedback import assistants, datasets, due, keys, review, runs
from feedback.collect import intake, receipts
from feedback.columns import now
from feedback.contributors import contributor_id
from feedback.errors import InvalidInput, NotFound
from feedback.models import Contributor, Feedback, ReportCase
from feedback.states import CaseStatus, FeedbackKind, FeedbackStatus, ReviewDecision, Role, RunStatus, Side
from feedback.testing import SECRET, House

THREADS = 8


def stored(house: House) -> list[Feedback]:
    with house.database.read() as session:
        return list(session.exec(select(Feedback).order_by(Feedback.id)))


def run_count(house: House) -> int:
    with house.database.read() as session:
        return len(runs.list_runs(session, house.assistant))


def at_once(count: int, deed: Any) -> list[Future[Any]]:
    """`deed(0)` … `deed(count - 1)` in threads that start together."""
    start = Barrier(count)

    def wait_and_do(number: int) -> Any:
        start.wait()
        return deed(number)

    with ThreadPoolExecutor(count) as pool:
        return [pool.submit(wait_and_do, number) for number in range(count)]


def claim(house: House) -> runs.Claim:
    held = runs.claim(house.database, "a worker", 30)
    assert held is not None
    return held


def finish(house: House, held: runs.Claim) -> None:
    with house.database.write() as session:
        runs.finish(session, held)


# ── what is stored ───────────────────────────────────────────────────────────────────────────────────────────


def test_changing_ones_mind_replaces_the_earlier_word(house: House) -> None:
    completion = house.reply("Which colour?", "Red.", user="ada")
    for value in (1, -1, {"stars": 4}):
        house.say(completion, "rating", value)
    house.say(completion, "rating", 1, user="bob")
    house.say(completion, "comment", "Nice.")
    said = [(one.score, one.status) for one in stored(house) if one.kind == FeedbackKind.RATING]
    old, new = FeedbackStatus.REPLACED, FeedbackStatus.RECEIVED
    assert said == [(1.0, old), (-1.0, old), (0.5, new), (1.0, new)]


def test_comments_add_up(embedded: House) -> None:
    completion = embedded.reply("Which colour?", "Red.", user="ada")
    embedded.say(completion, "comment", "Nice.")
    embedded.say(completion, "comment", comment="And short.")
    assert [one.status for one in stored(embedded)] == [FeedbackStatus.RECEIVED] * 2


def test_a_repeated_request_gets_the_same_receipt_and_another_is_refused(house: House) -> None:
    completion = house.reply("Which colour?", "Red.")
    first = house.say(completion, "rating", 1, idempotency_key="k")
    assert house.say(completion, "rating", 1, idempotency_key="k") == first
    with pytest.raises(InvalidInput) as refused:
        house.say(completion, "rating", -1, idempotency_key="k")
    assert refused.value.code == "idempotency_key_reused"
    assert len(stored(house)) == 1


def test_an_unknown_completion_is_not_found(embedded: House) -> None:
    completion = embedded.reply("Which colour?", "Red.")
    for name, choice in (("chatcmpl-none", 0), (completion, 1), (completion, 2**70)):
        with pytest.raises(NotFound) as missing:
            embedded.say(name, "rating", 1, choice=choice)
        assert missing.value.param == "completion_id"


def test_a_key_of_another_assistant_sees_no_completion(embedded: House) -> None:
    completion = embedded.reply("Which colour?", "Red.")
    with embedded.database.write() as session:
        assistants.create(session, "school", "tiny", actor="test")
        _, token = keys.create(session, "teacher", Role.CHAT, ["school"], actor="test")
    with embedded.database.read() as session:
        stranger = keys.authenticate(session, token)
    given = intake.Given(completion, FeedbackKind.RATING, value=1)
    with pytest.raises(NotFound):
        intake.receive(embedded.database, SECRET, stranger, given)
    allowed = replace(stranger, assistant_ids=frozenset({embedded.assistant.id}))
    assert intake.receive(embedded.database, SECRET, allowed, given).status == FeedbackStatus.RECEIVED


def test_the_contributor_is_the_named_user_else_the_one_who_chatted_else_the_key(embedded: House) -> None:
    chatted, unnamed = embedded.reply("Which colour?", "Red.", user="ada"), embedded.reply("Which size?", "Tall.")
    embedded.say(chatted, "rating", 1)
    embedded.say(chatted, "rating", 1, user="bob")
    embedded.say(unnamed, "rating", 1)
    embedded.say(chatted, "rating", 1, anonymous=True, user="ada")

    def known_as(user: str | None) -> str:
        return contributor_id(SECRET, embedded.assistant.id, embedded.caller.api_key_id, user)

    expected = [known_as("ada"), known_as("bob"), known_as(None), None]
    assert [one.contributor_id for one in stored(embedded)] == expected
    assert len({*expected}) == 4


def test_a_key_that_lies_in_a_page_gives_nobody_a_second_voice(embedded: House) -> None:
    with embedded.database.write() as session:
        assistants.set_policies(session, embedded.reload(), {"trust": {"min_voices": 2}}, actor="test")
        key, _ = keys.create(session, "page", Role.FEEDBACK, actor="test")
    page = keys.Caller(key.id, key.name, key.role, None)
    chatted = embedded.reply("Who founded it?", "Nobody.", user="mallory")
    unnamed = embedded.reply("Who founded it, then?", "Nobody.")
    fact = {"content": "Mallory founded it.", "key_facts": ["Mallory"]}

    def correct(completion_id: str, user: str) -> Feedback:
        given = intake.Given(completion_id, FeedbackKind.CORRECTION, value=fact, user=user)
        accepted = intake.receive(embedded.database, SECRET, page, given)
        return next(one for one in stored(embedded) if one.public_id == accepted.id)

    def facts_held_back() -> int:
        with embedded.database.read() as session:
            sheet = datasets.preview(session, embedded.reload()).sheet
        return sum(one["items"] for one in sheet["dropped"] if "new fact" in one["reason"])

    mallory = contributor_id(SECRET, embedded.assistant.id, embedded.caller.api_key_id, "mallory")
    assert [correct(chatted, user).contributor_id for user in ("eve", "trent")] == [mallory, mallory]
    assert facts_held_back() == 1
    nobody = contributor_id(SECRET, embedded.assistant.id, key.id, None)
    assert [correct(unnamed, user).contributor_id for user in ("eve", "trent")] == [nobody, nobody]


def test_a_contributors_side_outlives_a_change_of_the_fractions(embedded: House) -> None:
    completion = embedded.reply("Which colour?", "Red.", user="ada")
    embedded.say(completion, "rating", 1)
    with embedded.database.read() as session:
        before = session.exec(select(Contributor)).one().side
    moved = {"gate_fraction": 0.8, "dev_fraction": 0.0} if before != Side.GATE else {"gate_fraction": 1e-9}
    with embedded.database.write() as session:
        assistants.set_policies(session, embedded.assistant, {"training": moved}, actor="test")
    embedded.say(completion, "rating", -1)
    with embedded.database.read() as session:
        assert session.exec(select(Contributor)).one().side == before


def test_a_report_opens_a_case_that_a_decision_closes_and_never_counts_for_a_run(embedded: House) -> None:
    _set_training(embedded, min_new_feedback=1)
    accepted = embedded.say(embedded.reply("Which colour?", "Red."), "report", "abuse", comment="Rude!")
    assert accepted.status == FeedbackStatus.IN_REVIEW
    assert run_count(embedded) == 0
    with embedded.database.write() as session:
        case = session.exec(select(ReportCase)).one()
        assert (case.category, case.status) == ("abuse", CaseStatus.OPEN)
        feedback = review.get_feedback(session, accepted.id)
        review.decide(session, feedback, ReviewDecision.APPROVED, note="You're right.", actor="test")
    with embedded.database.read() as session:
        assert session.exec(select(ReportCase)).one().status == CaseStatus.RESOLVED
        told = receipts.look_up(session, accepted.receipt)
    assert told.note == "You're right."
    assert "dataset" not in told.detail  # a report never trains, so none is to be hoped for


def test_a_comments_receipt_promises_no_training(embedded: House) -> None:
    accepted = embedded.say(embedded.reply("Which colour?", "Red."), "comment", "Nice.")
    with embedded.database.read() as session:
        told = receipts.look_up(session, accepted.receipt)
    assert (told.status, "dataset" in told.detail) == ("received", False)


# ── preferences ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_preference_is_between_siblings(house: House) -> None:
    both = house.reply("Which colour?", ["Red.", "Blue."], user="ada")
    again = house.reply("Which colour?", "Green.", user="ada")
    house.say(both, "preference", {"rejected": {"choice": 1}})
    house.say(again, "preference", {"rejected": {"completion_id": both}})
    assert [one.status for one in stored(house)] == [FeedbackStatus.REPLACED, FeedbackStatus.RECEIVED]


def test_a_reply_is_no_sibling_of_itself_or_of_another_questions_reply(embedded: House) -> None:
    completion, other = embedded.reply("Which colour?", "Red."), embedded.reply("Which size?", "Tall.")
    for rejected in ({"choice": 0}, {"choice": 1}, {"completion_id": other}, {"completion_id": "chatcmpl-none"}):
        with pytest.raises(InvalidInput) as refused:
            embedded.say(completion, "preference", {"rejected": rejected})
        assert refused.value.param == "value"


@pytest.mark.parametrize(
    "value",
    [
        None,
        1,
        {},
        {"rejected": None},
        {"rejected": {"choice": 1, "by": "me"}},
        {"rejected": {"choice": "1"}},
        {"rejected": {"choice": True}},
        {"rejected": {"choice": [1]}},
        {"rejected": {"choice": 2**70}},
        {"rejected": {"completion_id": 5}},
        {"rejected": {"completion_id": {}}},
    ],
)
def test_other_preferences_are_refused(embedded: House, value: Any) -> None:
    completion = embedded.reply("Which colour?", ["Red.", "Blue."])
    with pytest.raises(InvalidInput) as refused:
        embedded.say(completion, "preference", value)
    assert refused.value.param == "value"


# ── what a database can't hold ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("comment", {"comment": "a\0b"}),
        ("comment", {"value": "a\0b"}),
        ("correction", {"value": "a\0b"}),
        ("rating", {"value": 1, "comment": "\ud800"}),
        ("rating", {"value": 1, "tags": ("\0",)}),
    ],
)
def test_text_that_no_database_can_hold_is_refused(embedded: House, kind: str, fields: dict[str, Any]) -> None:
    completion = embedded.reply("Which colour?", "Red.")
    with pytest.raises(InvalidInput):
        embedded.say(completion, kind, **fields)


def test_a_text_over_the_limit_is_refused(embedded: House) -> None:
    completion = embedded.reply("Which colour?", "Red.")
    with pytest.raises(InvalidInput, match="characters"):
        embedded.say(completion, "comment", "x" * (intake.MAX_TEXT + 1))
    with pytest.raises(InvalidInput, match="characters"):
        embedded.say(completion, "rating", 1, comment="x" * (intake.MAX_TEXT + 1))


@pytest.mark.parametrize("character", ["x", '"', "塔", "😀"])
def test_a_text_may_be_as_long_in_every_script(embedded: House, character: str) -> None:
    completion = embedded.reply("Which colour?", "Red.")
    embedded.say(completion, "correction", character * intake.MAX_TEXT)


# ── runs become due ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_run_becomes_due_with_the_last_correction_that_the_policy_asks_for(embedded: House) -> None:
    _set_training(embedded, min_new_feedback=2)
    embedded.say(embedded.reply("Which size?", "Tall."), "rating", -1)
    embedded.correct("Which colour?", "Red.", "Blue.")
    assert run_count(embedded) == 0
    embedded.correct("Which shape?", "Round.", "Square.")
    assert run_count(embedded) == 1
    embedded.correct("Which sort?", "Old.", "New.")
    assert run_count(embedded) == 1


def test_after_a_run_only_newer_feedback_counts(embedded: House) -> None:
    _set_training(embedded, min_new_feedback=2, min_seconds_between_runs=0)
    for number in range(2):
        embedded.correct(f"Question {number}?", "No.", "Yes.")
    with embedded.database.write() as session:
        runs.cancel(session, runs.list_runs(session)[0].id, actor="test")
    embedded.correct("Question 3?", "No.", "Yes.")
    assert run_count(embedded) == 1
    embedded.correct("Question 4?", "No.", "Yes.")
    assert run_count(embedded) == 2


def test_what_is_old_is_not_read_again_for_every_new_word(embedded: House) -> None:
    _set_training(embedded, min_new_feedback=1, min_seconds_between_runs=0)
    embedded.correct("Which colour?", "Red.", "Blue.")
    finish(embedded, claim(embedded))
    plans = []

    def explain(connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT count(*)"):
            plans.append(str(connection.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()))

    event.listen(Engine, "before_cursor_execute", explain)
    try:
        embedded.correct("Which colour?", "Red.", "Green.")
    finally:
        event.remove(Engine, "before_cursor_execute", explain)
    assert run_count(embedded) == 2
    assert plans
    assert all("ix_feedback_came_in (assistant_id=? AND kind=? AND <expr>>?)" in plan for plan in plans), plans


def test_what_a_failed_run_was_to_learn_still_waits(embedded: House) -> None:
    _set_training(embedded, min_new_feedback=2, min_seconds_between_runs=0)
    for number in range(2):
        embedded.correct(f"Question {number}?", "No.", "Yes.")
    runs.fail_attempt(embedded.database, claim(embedded), "a broken disk", final=True)
    embedded.correct("Question 3?", "No.", "Yes.")
    assert run_count(embedded) == 2


def test_what_was_said_while_a_run_was_open_or_soon_after_is_asked_for_later(house: House) -> None:
    _set_training(house, min_new_feedback=2, min_seconds_between_runs=0)
    for number in range(2):
        house.correct(f"Question {number}?", "No.", "Yes.")
    held = claim(house)
    for number in range(2, 4):
        house.correct(f"Question {number}?", "No.", "Yes.")
    assert due.request_what_is_due(house.database) == []
    finish(house, held)
    _set_training(house, min_seconds_between_runs=60)
    assert due.request_what_is_due(house.database) == []
    _set_training(house, min_seconds_between_runs=0)
    (run,) = due.request_what_is_due(house.database)
    assert (run.requested_by, run.reason.split()[0]) == ("policy", "2")
    assert due.request_what_is_due(house.database) == []
    finish(house, claim(house))
    assert due.request_what_is_due(house.database) == []


def test_what_was_said_while_a_run_was_queued_is_learned_by_it(embedded: House) -> None:
    _set_training(embedded, min_new_feedback=2, min_seconds_between_runs=0)
    for number in range(4):
        embedded.correct(f"Question {number}?", "No.", "Yes.")
    finish(embedded, claim(embedded))
    assert due.request_what_is_due(embedded.database) == []


def test_every_assistant_is_asked_for_but_the_base(embedded: House) -> None:
    with embedded.database.write() as session:
        base = assistants.get_assistant(session, "base")
        for one in (base, embedded.assistant):
            assistants.set_policies(session, one, {"training": {"min_new_feedback": 5}}, actor="test")
    school = House(embedded.settings, embedded.database, "school", training={"min_new_feedback": 5})
    for number in range(2):
        embedded.correct(f"Question {number}?", "No.", "Yes.")
        school.correct(f"Question {number}?", "No.", "Yes.")
    embedded.assistant = base
    for number in range(2):
        embedded.correct(f"Question {number}?", "No.", "Yes.")
    for name in ("base", "support", "school"):
        with embedded.database.write() as session:
            one = assistants.get_assistant(session, name)
            assistants.set_policies(session, one, {"training": {"min_new_feedback": 2}}, actor="test")
    asked = {run.assistant_id for run in due.request_what_is_due(embedded.database)}
    assert asked == {school.assistant.id, embedded.reload().id}


def test_a_failed_run_is_asked_for_again_only_after_a_new_word_and_a_while(embedded: House) -> None:
    _set_training(embedded, min_new_feedback=2, min_seconds_between_runs=0)
    for number in range(2):
        embedded.correct(f"Question {number}?", "No.", "Yes.")
    held = claim(embedded)
    runs.fail_attempt(embedded.database, held, "nothing to train on", final=True)
    assert due.request_what_is_due(embedded.database) == []
    _set_training(embedded, min_seconds_between_runs=60)
    embedded.correct("Question 3?", "No.", "Yes.")
    with embedded.database.write() as session:  # it had trained for long
        runs.get_run(session, held.run_id).created_at -= timedelta(hours=1)
    assert due.request_what_is_due(embedded.database) == []
    with embedded.database.write() as session:
        runs.get_run(session, held.run_id).finished_at = now() - timedelta(seconds=61)
    (run,) = due.request_what_is_due(embedded.database)
    assert run.reason.startswith("3 new")


def test_the_base_never_learns(embedded: House) -> None:
    with embedded.database.write() as session:
        base = assistants.get_assistant(session, "base")
        assistants.set_policies(session, base, {"training": {"min_new_feedback": 1}}, actor="test")
    embedded.assistant = base
    embedded.correct("Which colour?", "Red.", "Blue.")
    assert run_count(embedded) == 0
    with embedded.database.write() as session, pytest.raises(InvalidInput, match="never learns"):
        runs.request(session, base, "please", actor="test")


# ── at once ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_of_one_persons_words_at_once_exactly_one_is_current(house: House) -> None:
    completion = house.reply("Which colour?", "Red.", user="ada")
    done = at_once(THREADS, lambda number: house.say(completion, "rating", 1 if number % 2 else -1))
    assert len({future.result().id for future in done}) == THREADS
    statuses = sorted(one.status for one in stored(house))
    assert statuses == [FeedbackStatus.RECEIVED] + [FeedbackStatus.REPLACED] * (THREADS - 1)


def test_one_request_repeated_at_once_is_stored_once(house: House) -> None:
    completion = house.reply("Which colour?", "Red.", user="ada")
    done = at_once(THREADS, lambda _: house.say(completion, "rating", 1, idempotency_key="k"))
    assert len({future.result() for future in done}) == 1
    assert len(stored(house)) == 1


def test_intake_at_once_makes_exactly_one_run_due(house: House) -> None:
    _set_training(house, min_new_feedback=THREADS, min_seconds_between_runs=0)
    completions = [house.reply(f"Question {number}?", "No.", user=f"u{number}") for number in range(THREADS)]
    done = at_once(THREADS, lambda number: house.say(completions[number], "correction", "Yes."))
    assert all(future.result().id for future in done)
    with house.database.read() as session:
        assert [run.status for run in runs.list_runs(session)] == [RunStatus.QUEUED]


def test_what_is_due_twice_at_once_is_queued_once(house: House) -> None:
    _set_training(house, min_new_feedback=1, min_seconds_between_runs=0)
    completions = [house.reply(f"Question {number}?", "No.", user=f"u{number}") for number in range(THREADS)]
    done = at_once(THREADS, lambda number: house.say(completions[number], "correction", "Yes."))
    assert all(future.result().id for future in done)
    assert run_count(house) == 1


def _set_training(house: House, **policy: Any) -> None:
    with house.database.write() as session:
        assistants.set_policies(session, house.assistant, {"training": policy}, actor="test")
