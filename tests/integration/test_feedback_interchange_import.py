"""Records come in: once each, by intake's rules, with the grants that they have, and credited to no version."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from imported_records import ASKED, LONG_AGO, counts, exported, sample, stored_feedback, take_in, taught, total
from sqlmodel import func, select

from feedback import assistants, datasets, due, keys, review, runs
from feedback.columns import now
from feedback.gather import gather
from feedback.interchange import store
from feedback.interchange.records import BadLine, Read, Record, Tie, preference
from feedback.models import AuditEntry, Contributor, Conversation, Feedback, Message
from feedback.states import Consent, FeedbackKind, FeedbackStatus, RunStatus, Side
from feedback.testing import SECRET, House

MANY = " ".join(f"w{number}" for number in range(21))


# ── what is stored ───────────────────────────────────────────────────────────────────────────────────────────


def test_records_become_feedback_that_no_version_is_credited_with(house: House) -> None:
    assert counts(take_in(house, sample())) == (5, 1, 1, 1)
    said = stored_feedback(house)
    kinds = [one.kind.value for one in said]
    assert kinds == ["correction", "preference", "rating", "rating", "comment"]
    assert {one.source for one in said} == {"import:a.jsonl"}
    assert all(one.imported_at is not None and one.status == FeedbackStatus.RECEIVED for one in said)
    assert (said[1].created_at, said[1].tags, said[2].comment) == (LONG_AGO, ["a", "b"], "How much?")
    assert [one.score for one in said] == [None, None, -1.0, 0.5, None]
    assert said[0].contributor_id is said[4].contributor_id is None
    assert said[1].contributor_id == said[3].contributor_id != said[2].contributor_id
    assert {"ada", "eve", "bob"}.isdisjoint(re.findall(r"\w+", str([one.model_dump() for one in said])))
    with house.database.read() as session:
        replies = [session.get_one(Message, one.message_id) for one in said]
        assert [reply.content for reply in replies] == ["", "330 metres.", "Tall.", "Tall.", "Tall."]
        assert {(reply.adapter_version_id, reply.completion_id, reply.role) for reply in replies} == {
            (None, None, "assistant")
        }
        other = session.get_one(Message, said[1].value["rejected_message_id"])
        assert (other.parent_id, other.content, other.choice_index) == (replies[1].parent_id, "Tall.", 1)
        shown = review.with_conversation(session, said[1], actor="test")
        assert shown["conversation"] == ["system: Be brief.", "user: Hello.", "assistant: Hi.", "user: How tall?"]
        assert shown["source"] == "import:a.jsonl"
        people = session.exec(select(Contributor)).all()
        assert len(people) == 2
        assert {person.side for person in people} <= set(Side)


def test_the_curation_knows_no_version_of_an_imported_reply(house: House) -> None:
    completion = house.reply("How wide?", ["Wide.", "125 metres."])
    house.say(completion, "preference", {"rejected": {"choice": 1}})
    take_in(house, [preference(1, ASKED, "330 metres.", "Tall."), Record(2, *_corrected("How deep?"))])
    with house.database.write() as session:
        all_pairs = {"training": {"min_preference_pairs": 1, "dev_fraction": 0}}
        assistants.set_policies(session, house.assistant, all_pairs, actor="test")
    with house.database.read() as session:
        native, choice, corrected = gather(session, house.assistant)
        curated = datasets.preview(session, house.assistant).curated
        prompt = datasets.prompt_of(assistants.current_guidelines(session, house.assistant))
    by_version = [
        [exchange.version for exchange in (item.exchange, item.rejected) if exchange]
        for item in (native, choice, corrected)
    ]
    assert by_version == [["base", "base"], [None, None], [None]]
    pairs = [planned.row(prompt) for planned in curated.rows if planned.method == "dpo"]
    assert len(pairs) == 3
    expected = {"How wide?": ("base", "base"), "How tall?": (None, None), "How deep?": (None, None)}
    for row in pairs:
        assert (row.chosen_version, row.rejected_version) == expected[row.prompt[-1].content]


def _corrected(question: str) -> tuple[Any, ...]:
    return (
        (("user", question),),
        "Deep.",
        FeedbackKind.CORRECTION,
        {"content": "15 metres.", "key_facts": ["15 metres"]},
    )


def test_a_correction_of_nothing_teaches_sft_alone(embedded: House) -> None:
    people = [f"person {number}" for number in range(20)]
    take_in(embedded, [taught(number, contributor=name) for number, name in enumerate(people)])
    with embedded.database.read() as session:
        curated = datasets.preview(session, embedded.reload()).curated
    assert {planned.method for planned in curated.rows} == {"sft"}


def test_a_reply_that_was_cut_off_stays_one(embedded: House, tmp_path: Path) -> None:
    take_in(embedded, [Record(1, ASKED, "Ta", FeedbackKind.RATING, 1, cut_off=True)])
    with embedded.database.read() as session:
        curated = datasets.preview(session, embedded.reload()).curated
    assert [out.reason for out in curated.dropped] == ["the reply was cut off"]


@pytest.mark.parametrize(
    ("record", "word"),
    [
        (taught(1, "x" * 20_001), "20000 characters"),
        (taught(1, "a\0b"), "NUL"),
        (taught(1, comment="\ud800"), "surrogates"),
        (taught(1, tags=("",)), "tags"),
        (taught(1, tags=("x",) * 21), "tags"),
        (taught(1, contributor=""), "contributor"),
        (taught(1, contributor="x" * 201), "contributor"),
        (taught(1, id="fb-1"), "`id`"),
        (Record(1, (), "Tall.", FeedbackKind.RATING, 1), "messages"),
        (Record(1, ASKED, "Tall.", FeedbackKind.RATING, 5), "rating"),
        (Record(1, ASKED, "Tall.", FeedbackKind.COMMENT, ""), "words"),
        (Record(1, ASKED, "", FeedbackKind.CORRECTION, {"content": "Yes.", "key_facts": ["no"]}), "Key fact"),
        (Record(1, ASKED, "", FeedbackKind.CORRECTION, {"content": "Yes.", "key_facts": [{}]}), "key_facts"),
        (Record(1, ASKED, "", FeedbackKind.CORRECTION, {"content": MANY, "key_facts": MANY.split()}), "20 different"),
    ],
)
def test_what_intake_refuses_is_a_bad_line(embedded: House, record: Record, word: str) -> None:
    done = take_in(embedded, [taught(7), record, taught(8)])
    assert (done.taken, [bad.line for bad in done.bad]) == (2, [1])
    assert word in done.bad[0].reason


# ── nothing twice ────────────────────────────────────────────────────────────────────────────────────────────


def test_importing_again_adds_nothing_and_an_overlapping_file_only_the_rest(house: House) -> None:
    take_in(house, sample())
    before = exported(house)
    assert counts(take_in(house, sample(), "another name.jsonl")) == (0, 6, 1, 1)
    assert exported(house) == before
    assert counts(take_in(house, [taught(9), *sample(), taught(10)])) == (2, 6, 1, 1)
    assert exported(house)[:-2] == before


def test_the_same_words_of_two_people_and_of_two_times_are_two(embedded: House) -> None:
    alike = [taught(1), taught(1, contributor="ada"), taught(1, contributor="bob"), taught(1, created_at=LONG_AGO)]
    assert counts(take_in(embedded, alike)) == (4, 0, 0, 0)


def test_two_imports_of_one_file_at_once_store_it_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "ROWS_AT_ONCE", 7)
    reads = [taught(number, contributor=f"person {number % 9}") for number in range(60)]
    start, done = Barrier(4), []

    def one() -> None:
        start.wait()
        done.append(take_in(house, reads))

    threads = [Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(stored.taken for stored in done) == 60
    assert sum(stored.known for stored in done) == 180
    with house.database.read() as session:
        for table, count in ((Feedback, 60), (Conversation, 60), (Contributor, 9), (Message, 120)):
            assert session.exec(select(func.count()).select_from(table)).one() == count


def test_people_chat_and_give_feedback_while_an_import_runs(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "ROWS_AT_ONCE", 20)
    importing = Thread(target=lambda: take_in(house, [taught(number) for number in range(400)]))
    importing.start()
    said = 0
    while importing.is_alive():
        house.correct(f"Question {said}?", "No.", "Yes.", user="ada")
        said += 1
    importing.join()
    assert len(stored_feedback(house)) == 400 + said


def test_a_failed_portion_leaves_the_earlier_ones_and_the_import_goes_on_from_there(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "ROWS_AT_ONCE", 10)

    def breaks_off() -> Iterator[Read]:
        yield from (taught(number) for number in range(25))
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk"):
        take_in(house, breaks_off())
    assert len(stored_feedback(house)) == 20
    assert counts(take_in(house, [taught(number) for number in range(30)])) == (10, 20, 0, 0)


@given(st.lists(st.sampled_from(["new", "old", "tie", "bad"]), max_size=30), st.integers(1, 9))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
def test_no_line_is_lost_and_a_dry_run_foretells_them_all(embedded: House, kinds: list[str], at_once: int) -> None:
    number = len(stored_feedback(embedded))
    reads: list[Read] = []
    for line, kind in enumerate(kinds, 1):
        number += kind == "new"
        made = {"tie": Tie(line, "a tie"), "bad": BadLine(line, "bad")}
        reads.append(made.get(kind) or replace(taught(number), line=line))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "ROWS_AT_ONCE", at_once)
        where = (embedded.database, SECRET, embedded.assistant, reads, store.Source("a.jsonl"))
        foretold = total(store.try_out(*where))
        done = total(store.take_in(*where, actor="test"))
    assert counts(foretold) == counts(done)
    assert sum(counts(done)) == len(kinds)
    assert len(done.bad) == kinds.count("bad")
    assert len(stored_feedback(embedded)) >= kinds.count("new")


def test_a_dry_run_stores_nothing(embedded: House) -> None:
    with embedded.database.read() as session:
        before = [session.exec(select(func.count()).select_from(table)).one() for table in (AuditEntry, keys.ApiKey)]
    where = (embedded.database, SECRET, embedded.assistant, sample(), store.Source("a.jsonl"))
    assert counts(total(store.try_out(*where))) == (5, 1, 1, 1)
    with embedded.database.read() as session:
        after = [session.exec(select(func.count()).select_from(table)).one() for table in (AuditEntry, keys.ApiKey)]
        assert session.exec(select(func.count()).select_from(Message)).one() == 0
    assert before == after


# ── grants ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("consent", Consent)
@pytest.mark.parametrize("told", [True, None, False])
@pytest.mark.parametrize("operator", [True, None, False])
def test_the_operator_grants_what_the_file_leaves_open(
    embedded: House, consent: Consent, told: bool | None, operator: bool | None
) -> None:
    take_in(embedded, [taught(1, store=told, training=told)], training=operator)
    with embedded.database.write() as session:
        assistants.set_consent(session, embedded.reload(), consent, actor="test")
    with embedded.database.read() as session:
        curated = datasets.preview(session, embedded.reload()).curated
    granted = False if told is False else operator if operator is not None else told
    learned = granted if granted is not None else consent == Consent.OPT_OUT
    assert ("consent" in {out.stage for out in curated.dropped}) is not learned


def test_what_is_known_already_keeps_its_grant_and_is_told_of(embedded: House) -> None:
    take_in(embedded, sample())
    assert take_in(embedded, sample(), training=False).known_otherwise == 5  # all but the one that was refused
    assert {one.training for one in stored_feedback(embedded)} == {None, False}


# ── runs, keys, names ────────────────────────────────────────────────────────────────────────────────────────


def set_training(house: House, **policy: Any) -> None:
    with house.database.write() as session:
        assistants.set_policies(session, house.reload(), {"training": policy}, actor="test")


def test_an_import_makes_a_run_due_however_old_its_words_are(house: House) -> None:
    set_training(house, min_new_feedback=3, min_seconds_between_runs=0)
    take_in(house, [taught(number, created_at=LONG_AGO) for number in range(3)])
    with house.database.write() as session:
        (run,) = runs.list_runs(session)
        assert run.status == RunStatus.QUEUED
        run.status, run.started_at = RunStatus.SUCCEEDED, now()
    take_in(house, [taught(number, created_at=LONG_AGO + timedelta(1)) for number in range(4, 6)])
    assert due.request_what_is_due(house.database) == []
    take_in(house, [taught(6, created_at=LONG_AGO)])
    with house.database.read() as session:
        assert [run.reason.split()[0] for run in runs.list_runs(session)] == ["3", "3"]


def test_the_key_of_imports_opens_nothing_and_the_deed_is_in_the_audit_log(house: House) -> None:
    take_in(house, sample(), training=True)
    take_in(house, sample())
    with house.database.read() as session:
        (key,) = [key for key in keys.list_keys(session) if key.name == "imports"]
        assert key.revoked_at is not None
        assert len(key.hash) < 64  # no text's SHA-256
        entries = session.exec(select(AuditEntry).where(AuditEntry.action == "feedback.import")).all()
    assert [entry.details for entry in entries] == [
        {"source": "import:a.jsonl", "training": True, "licence": None},
        {"source": "import:a.jsonl", "training": None, "licence": None},
    ]


def test_a_file_name_that_is_no_text_is_kept_as_far_as_it_is(embedded: House) -> None:
    take_in(embedded, [taught(1)], name="caf\udce9" + "x" * 300)
    (said,) = stored_feedback(embedded)
    assert said.source is not None
    assert said.source.startswith("import:caf?xxx")
    assert len(said.source) == 200
