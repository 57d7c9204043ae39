"""Records come in and go out: once each, by intake's rules, credited to no version, and the same after a round trip."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import col, func, select

import migrations
from feedback import assistants, datasets, due, keys, review, runs
from feedback.collect import intake
from feedback.columns import now
from feedback.gather import gather
from feedback.interchange import export, ours, store
from feedback.interchange.export import ExportFormat
from feedback.interchange.records import BadLine, Read, Record, Tie, correction, preference, rating
from feedback.interchange.stored import current_records
from feedback.models import AuditEntry, Contributor, Conversation, Feedback, Message
from feedback.states import Consent, FeedbackKind, FeedbackStatus, ReviewDecision, RunStatus, Side
from feedback.testing import SECRET, House, open_house

ASKED = (("user", "How tall?"),)
MANY = " ".join(f"w{number}" for number in range(21))
LONG_AGO = datetime(2024, 2, 29, 12, tzinfo=UTC)


def taught(line: int, answer: str = "330 metres.", **more: Any) -> Record:
    return correction(line, (("user", f"How tall is tower {line}?"),), answer, **more)


def sample() -> list[Read]:
    history = (("system", "Be brief."), ("user", "Hello."), ("assistant", "Hi."), ("user", "How tall?"))
    return [
        taught(1),
        preference(2, history, "330 metres.", "Tall.", contributor="ada", created_at=LONG_AGO, tags=("a", "b")),
        rating(3, ASKED, "Tall.", -1, contributor="bob", comment="How much?"),
        BadLine(4, "it isn't JSON"),
        Tie(5, "annotator1 found both replies equally good"),
        Record(6, ASKED, "Tall.", FeedbackKind.RATING, {"stars": 4}, contributor="ada"),
        Record(7, ASKED, "Tall.", FeedbackKind.COMMENT, "Nice.", training=False, cut_off=True),
        taught(1),
    ]


def take_in(house: House, reads: Iterable[Read], name: str = "a.jsonl", training: bool | None = None) -> store.Stored:
    """Everything that became of `reads`, in one."""
    source = store.Source(name, training)
    return total(store.take_in(house.database, SECRET, house.reload(), reads, source, actor="test"))


def total(steps: Iterable[store.Stored]) -> store.Stored:
    whole = store.Stored(0)
    for one in steps:
        whole = store.Stored(
            one.line,
            whole.taken + one.taken,
            whole.known + one.known,
            whole.known_otherwise + one.known_otherwise,
            whole.ties + one.ties,
            whole.bad + one.bad,
        )
    return whole


def counts(stored: store.Stored) -> tuple[int, int, int, int]:
    return stored.taken, stored.known, len(stored.ties), len(stored.bad)


def stored_feedback(house: House) -> list[Feedback]:
    with house.database.read() as session:
        return list(session.exec(select(Feedback).order_by(col(Feedback.id))))


def exported(house: House) -> list[str]:
    assistant = house.reload()
    return list(export.lines(current_records(house.database, assistant), ExportFormat.BURNISH, assistant.consent))


def imported(path: Path, lines: list[str]) -> Iterator[Read]:
    path.write_text("".join(lines), "utf-8", newline="")
    return ours.read(path)


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


# ── out and in again ─────────────────────────────────────────────────────────────────────────────────────────


def say_everything(house: House) -> None:
    both = house.reply("Which colour?", ["Red.", "Blue."], user="ada")
    house.say(both, "preference", {"rejected": {"choice": 1}}, tags=("tone",))
    house.say(both, "preference", {"tie": "good", "other": {"choice": 1}}, user="eve")
    house.say(both, "rating", {"stars": 4}, user="bob", comment="Fine.")
    house.say(both, "rating", -1, user="cy", training=False)
    house.say(both, "comment", "Nice.", anonymous=True)
    house.say(both, "comment", comment=" Nice \u2028 and short. ", anonymous=True)
    long = house.reply(
        [{"role": "system", "content": "Rhyme."}, {"role": "user", "content": "Hello"}], "Yellow.", store=True
    )
    house.say(long, "correction", {"content": "Mellow.", "key_facts": ["mellow"]}, anonymous=True, training=True)
    house.say(house.reply("Again?", "No.", store=False), "correction", "x" * intake.MAX_TEXT)
    sale = {"content": "Until Sunday.", "key_facts": ["Sunday"], "expires_at": "2025-02-03T00:00:00+01:00"}
    house.say(house.reply("Sale?", "No."), "correction", sale)
    house.say(both, "report", "abuse")
    house.say(both, "rating", 1, user="bob")  # takes the stars back


def test_what_goes_out_comes_in_as_it_was(house: House, tmp_path: Path) -> None:
    say_everything(house)
    first = exported(house)
    assert len(first) == 9
    assert "ada" not in re.findall(r"\w+", "".join(first))
    (tmp_path / "fresh").mkdir()
    with open_house(tmp_path / "fresh") as fresh:
        assert counts(take_in(fresh, imported(tmp_path / "out.jsonl", first))) == (9, 0, 0, 0)
        assert exported(fresh) == first
        assert counts(take_in(fresh, imported(tmp_path / "out.jsonl", first))) == (0, 9, 0, 0)
        (tie,) = [said for said in stored_feedback(fresh) if "tie" in said.value]
        assert tie.score == 1.0  # so that it counts as a tie here too


def test_our_own_export_adds_nothing_where_it_came_from(house: House, tmp_path: Path) -> None:
    say_everything(house)
    take_in(house, sample())
    first = exported(house)
    assert counts(take_in(house, imported(tmp_path / "out.jsonl", first), training=True)) == (0, len(first), 0, 0)
    assert exported(house) == first


def test_a_line_that_was_changed_under_its_id_is_refused(embedded: House, tmp_path: Path) -> None:
    embedded.correct("Which colour?", "Red.", "Blue.", user="ada")
    (line,) = exported(embedded)
    path = tmp_path / "out.jsonl"
    done = take_in(embedded, imported(path, [line, line.replace("Blue.", "Green.")]))
    assert (done.known, [bad.line for bad in done.bad]) == (1, [2])
    assert "something else" in done.bad[0].reason
    (tmp_path / "fresh").mkdir()
    with open_house(tmp_path / "fresh") as fresh:
        done = take_in(fresh, imported(path, [line, line, line.replace("Blue.", "Green.")]))
        assert counts(done) == (1, 1, 0, 1)


def test_another_assistant_gets_ids_and_people_of_its_own(embedded: House, tmp_path: Path) -> None:
    embedded.correct("Which colour?", "Red.", "Blue.", user="ada")
    path = tmp_path / "out.jsonl"
    school = House(embedded.settings, embedded.database, "school")
    for expected in ((1, 0, 0, 0), (0, 1, 0, 0)):
        assert counts(take_in(school, imported(path, exported(embedded)))) == expected
    native, copied = stored_feedback(embedded)
    assert native.public_id != copied.public_id
    assert native.contributor_id != copied.contributor_id
    with embedded.database.read() as session:
        people = {person.id: person.assistant_id for person in session.exec(select(Contributor))}
    assert people == {native.contributor_id: native.assistant_id, copied.contributor_id: copied.assistant_id}


def test_what_a_reviewer_turned_down_or_a_giver_took_back_stays_here(embedded: House) -> None:
    kept, out = (embedded.correct(f"Question {number}?", "No.", "Yes.", user=f"u{number}") for number in range(2))
    with embedded.database.write() as session:
        for given, decision in (
            (kept, ReviewDecision.REJECTED),
            (kept, ReviewDecision.APPROVED),
            (out, ReviewDecision.REJECTED),
        ):
            review.decide(session, review.get_feedback(session, given.id), decision, note=None, actor="test")
    assert [kept.id in line for line in exported(embedded)] == [True]


def test_a_reply_that_was_cut_off_stays_one(embedded: House, tmp_path: Path) -> None:
    take_in(embedded, [Record(1, ASKED, "Ta", FeedbackKind.RATING, 1, cut_off=True)])
    with embedded.database.read() as session:
        curated = datasets.preview(session, embedded.reload()).curated
    assert [out.reason for out in curated.dropped] == ["the reply was cut off"]


@pytest.fixture(scope="module")
def two_deployments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, House]]:
    with open_house(tmp_path_factory.mktemp("one")) as one, open_house(tmp_path_factory.mktemp("other")) as other:
        yield one, other


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
SOME_TEXT = TEXT.filter(str.strip)


@st.composite
def records(draw: st.DrawFn) -> Record:
    kind, value = draw(
        st.one_of(
            st.tuples(st.just(FeedbackKind.CORRECTION), SOME_TEXT),
            st.tuples(
                st.just(FeedbackKind.CORRECTION),
                st.builds(lambda text, day: {"content": text, "expires_at": str(day)}, SOME_TEXT, st.dates()),
            ),
            st.tuples(st.just(FeedbackKind.RATING), st.sampled_from([1, -1, {"stars": 3}])),
            st.tuples(st.just(FeedbackKind.COMMENT), SOME_TEXT),
            st.tuples(st.just(FeedbackKind.PREFERENCE), st.builds(lambda text: {"rejected": text}, TEXT)),
            st.tuples(st.just(FeedbackKind.PREFERENCE), st.builds(lambda text: {"tie": "bad", "other": text}, TEXT)),
        )
    )
    return Record(
        line=1,
        messages=tuple(draw(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), TEXT), min_size=1, max_size=4))),
        reply=draw(TEXT),
        kind=kind,
        value=value,
        contributor=draw(st.none() | st.sampled_from("abc")),
        comment=draw(st.none() | TEXT),
        tags=tuple(draw(st.lists(SOME_TEXT, max_size=2))),
        created_at=draw(st.none() | st.datetimes(datetime(1970, 1, 1), datetime(2025, 1, 1), timezones=st.just(UTC))),
        store=draw(st.none() | st.booleans()),
        training=draw(st.none() | st.booleans()),
        cut_off=draw(st.booleans()),
    )


@given(said=st.lists(records(), max_size=8))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_was_said_is_the_same_in_a_fresh_deployment(
    two_deployments: tuple[House, House], tmp_path_factory: pytest.TempPathFactory, said: list[Record]
) -> None:
    path = tmp_path_factory.mktemp("out") / "out.jsonl"
    here, there = (House(house.settings, house.database, path.parent.name) for house in two_deployments)
    first = take_in(here, said)
    assert first.taken + first.known == len(said)
    lines = exported(here)
    assert counts(take_in(there, imported(path, lines))) == (first.taken, 0, 0, 0)
    assert exported(there) == lines
    assert counts(take_in(here, imported(path, lines))) == (0, first.taken, 0, 0)


# ── runs, keys, history ──────────────────────────────────────────────────────────────────────────────────────


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


def test_feedback_outlives_the_schemas_change_and_its_way_back(house: House) -> None:
    house.correct("Which colour?", "Red.", "Blue.", user="ada")
    before = exported(house)
    migrations.downgrade(house.database, "0001")
    migrations.upgrade(house.database)
    assert exported(house) == before


def test_a_file_name_that_is_no_text_is_kept_as_far_as_it_is(embedded: House) -> None:
    take_in(embedded, [taught(1)], name="caf\udce9" + "x" * 300)
    (said,) = stored_feedback(embedded)
    assert said.source is not None
    assert said.source.startswith("import:caf?xxx")
    assert len(said.source) == 200
