"""Who and what an erasure reaches: a person, a conversation, a piece of feedback, all that hangs on it, nobody else."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from erasures import ADAS, erase, person, state_of, versions
from pretended_training import Works
from remains import files_with, tables_with
from sqlmodel import select

from feedback import conversations, datasets, files, review, verification
from feedback.contributors import contributor_id
from feedback.erasure import erase as erasing
from feedback.erasure import finish
from feedback.erasure.subjects import Named, resolve
from feedback.erasure.withdrawal import withdraw
from feedback.errors import InvalidInput, NotFound
from feedback.models import AdapterVersion, AuditEntry, Conversation, DatasetVersion, Feedback, Message
from feedback.run_folder import SPLITS, attempt_folder
from feedback.states import ErasureState, MessageStatus, Side
from feedback.testing import SECRET, House

BOBS = "Wollongong"


@pytest.fixture
def works(house: House) -> Works:
    return Works(house)


def verified(house: House, number: int = 1) -> verification.Verified:
    with house.database.read() as session:
        dataset = datasets.get_dataset(session, house.assistant, number)
        return verification.verify(session, house.settings.runs, dataset)


def quote_everything(house: House, version: AdapterVersion) -> None:
    """What an attempt says about its rows: questions and replies, as an evaluation has them."""
    folder = house.settings.runs / str(version.run_id)
    attempt = attempt_folder(folder, 1)
    rows = [json.loads(line) for side in SPLITS for line in (folder / f"{side}.jsonl").read_bytes().splitlines()]
    reply = {"reply": "14", "recalled": None, "contrast": None, "loss": 1.0}
    quoted = [
        {"id": row["id"], "question": row["prompt"][-1]["content"], "expected": str(row.get("completion")),
         "candidate": reply, "baseline": reply}
        for row in rows
    ]  # fmt: skip
    samples = [
        {"question": one["question"], "expected": one["expected"], "before": "14", "after": "14"} for one in quoted
    ]
    found = {"rows": quoted, "pairs": [], "ratings": [], "samples": samples}
    files.write_json(attempt / "evaluation.json", found)
    report = "# Report\n\n## Before and after\n" + "".join(
        f"\n**{one['question']}** {one['expected']}\n" for one in quoted
    )
    files.write_bytes(attempt / "report.md", report.encode())
    log = "2025-01-01T00:00:00 sft: started\nTraceback (most recent call last):\nValueError: " + ADAS
    files.write_bytes(attempt / "train.log", log.encode())


# ── everything of a person ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("side", [Side.TRAIN, Side.GATE])
def test_a_person_is_in_no_table_and_no_file_and_others_stay(works: Works, side: Side) -> None:
    house, ada = works.house, person(works.house, side)
    house.correct(f"Where is {ADAS}?", f"{ADAS} is lost.", f"{ADAS} is in Tanzania.", ADAS, user=ada)
    house.reply(f"Thank you, {ADAS} it is.", "Gladly.", user=ada)
    house.correct(f"Where is {BOBS}?", "No.", f"{BOBS} is in Australia.", BOBS, user="bob")
    version = works.learn()
    quote_everything(house, version)
    folder = house.settings.data_folder
    assert {"message", "feedback"} <= set(tables_with(house.database, ADAS))
    assert len([name for name in files_with(folder, ADAS) if name.startswith("runs/")]) == 5

    erasure, done = erase(house, user=ada)
    assert tables_with(house.database, ADAS) == []
    assert state_of(house, erasure) == ErasureState.ROWS_GONE
    assert done.counts | {"message": 4, "conversation": 2, "feedback": 1, "contributor": 1} == done.counts
    assert (done.datasets, done.tainted, done.cancelled, done.retrain) == (["v1"], ["support@1"], [], True)
    assert verified(house).to_erase == done.counts["dataset_rows"]

    assert finish.clean_files(house.database, house.settings)
    assert state_of(house, erasure) == ErasureState.FILES_GONE
    assert [name for name in files_with(folder, ADAS) if name.startswith("runs/")] == []
    assert finish.scrub(house.database, at_once=True)
    assert state_of(house, erasure) == ErasureState.COMPLETE
    assert files_with(folder, ADAS) == []
    contributor = contributor_id(SECRET, house.assistant.id, house.caller.api_key_id, ada)
    assert files_with(folder, contributor) == []
    assert tables_with(house.database, contributor) == []
    assert tables_with(house.database, BOBS)
    assert files_with(house.settings.runs, BOBS)
    look = verified(house)
    assert (look.erased, look.to_erase) == (done.counts["dataset_rows"], 0)
    log = (attempt_folder(house.settings.runs / str(version.run_id), 1) / "train.log").read_text()
    assert log == "2025-01-01T00:00:00 sft: started\n"


def test_erasing_tells_who_what_and_how_much_and_no_words(works: Works) -> None:
    house = works.house
    house.correct(f"Where is {ADAS}?", "No.", f"{ADAS} is in Tanzania.", user="ada")
    works.learn()
    with house.database.read() as session:
        before = erasing.preview(session, house.assistant, resolve(session, SECRET, house.assistant, Named(user="ada")))
    erasure, done = erase(house, user="ada")
    assert before == done
    with house.database.read() as session:
        entry = session.exec(select(AuditEntry).where(AuditEntry.action == "erasure")).one()
        dataset = session.exec(select(DatasetVersion)).one()
    assert (entry.subject, entry.actor, entry.details["counts"]) == (erasure.public_id, "test", done.counts)
    assert (dataset.rows_erased, dataset.erased_at is not None) == (done.counts["dataset_rows"], True)
    with pytest.raises(NotFound, match="Nothing of such a user is here"):
        erase(house, user="ada")


def test_somebody_elses_words_on_an_erased_conversation_go_too(house: House) -> None:
    asked = house.reply("Where is it?", "Nowhere.", user="ada")
    others = house.say(asked, "correction", f"{ADAS} is where ada lives.", user="bob")
    house.say(asked, "report", "privacy", user="bob")
    with house.database.write() as session:
        review.decide(session, review.get_feedback(session, others.id), "approved", note=ADAS, actor="test")
    _, done = erase(house, user="ada")
    assert done.counts | {"feedback": 2, "report_case": 1, "review": 1} == done.counts
    assert "contributor" not in done.counts, "ada gave no feedback, and bob stays"
    assert tables_with(house.database, ADAS) == []


def test_a_case_goes_with_the_last_report_of_it(house: House) -> None:
    asked = house.reply("Where is it?", "Nowhere.", user="carl")
    for user in ("ada", "bob"):
        house.say(asked, "report", "privacy", comment=ADAS, user=user)
    assert "report_case" not in erase(house, user="ada")[1].counts
    assert erase(house, user="bob")[1].counts == {"contributor": 1, "feedback": 1, "report_case": 1}
    assert tables_with(house.database, ADAS) == []


def test_words_about_somebody_elses_conversation_leave_that_where_it_is(house: House) -> None:
    asked = house.reply(f"Where is {BOBS}?", "Nowhere.", user="bob")
    house.say(asked, "correction", ADAS, user="ada")
    _, done = erase(house, user="ada")
    assert done.counts == {"contributor": 1, "feedback": 1}
    assert tables_with(house.database, BOBS) == ["message"]


def test_a_user_is_found_under_every_key_or_under_one(house: House) -> None:
    second = House(house.settings, house.database)
    with house.database.write() as session:
        session.merge(second.reload())
    for at in (house, second):
        at.correct("Where?", "No.", "Here.", user="ada")
    assert erase(house, user="ada")[1].counts["contributor"] == 2
    with (
        house.database.read() as session,
        pytest.raises(NotFound, match="Nothing of such a user is here under a key called 'nobody'"),
    ):
        resolve(session, SECRET, house.assistant, Named(user="ada", key="nobody"))
    with house.database.read() as session, pytest.raises(InvalidInput, match="one of user"):
        resolve(session, SECRET, house.assistant, Named(user="ada", feedback="fb-1"))


def test_a_client_cant_hide_a_conversation_behind_another_ones_number(house: House) -> None:
    asked = house.reply(f"Where is {ADAS}?", "There.")
    with house.database.write() as session:
        number = conversations.get_reply(session, None, asked, 0)[1].id
        taken = Conversation(
            assistant_id=house.assistant.id, api_key_id=house.caller.api_key_id, external_id=f"conv-{number}"
        )
        session.add(taken)
    with pytest.raises(InvalidInput, match="name the one you mean by one of its completions"):
        erase(house, conversation=f"conv-{number}")
    erase(house, completion=asked)
    assert tables_with(house.database, ADAS) == []
    assert erase(house, conversation=f"conv-{number}")[1].counts == {"conversation": 1}


def test_another_assistants_people_are_not_reached(house: House) -> None:
    school = House(house.settings, house.database, "school")
    given = school.correct("Where?", "No.", "Here.", user="ada")
    contributor = contributor_id(SECRET, school.assistant.id, school.caller.api_key_id, "ada")
    for named in ({"user": "ada"}, {"contributor": contributor}, {"feedback": given.id}):
        with pytest.raises(NotFound):
            erase(house, **named)


# ── a conversation, a piece of feedback ──────────────────────────────────────────────────────────────────────


def test_a_completion_stands_for_its_whole_conversation(house: House) -> None:
    first = house.reply(f"Where is {ADAS}?", "There.")
    history = [
        {"role": "user", "content": f"Where is {ADAS}?"},
        {"role": "assistant", "content": "There."},
        {"role": "user", "content": "And how far?"},
    ]
    house.reply(history, f"{ADAS} is far.")
    house.reply(f"Where is {BOBS}?", "Here.")
    with house.database.read() as session:
        number = conversations.get_reply(session, None, first, 0)[1].id
    _, done = erase(house, completion=first)
    assert done.counts == {"conversation": 1, "message": 4}
    assert tables_with(house.database, ADAS) == []
    with pytest.raises(NotFound):
        erase(house, conversation=f"conv-{number}")
    with house.database.read() as session:
        left = session.exec(select(Message)).first()
    assert left is not None
    assert erase(house, conversation=f"conv-{left.conversation_id}")[1].counts["message"] == 2


def test_a_piece_of_feedback_goes_with_the_words_that_it_replaced(house: House) -> None:
    asked = house.reply("Where?", "No.", user="ada")
    house.say(asked, "correction", f"{ADAS}, I think.")
    house.say(asked, "rating", -1)
    newer = house.say(asked, "correction", f"{ADAS}, I know.")
    _, done = erase(house, feedback=newer.id)
    assert done.counts == {"feedback": 2}
    assert tables_with(house.database, ADAS) == []
    with house.database.read() as session:
        assert len(session.exec(select(Feedback)).all()) == 1


def test_a_giver_takes_their_words_back(works: Works) -> None:
    house = works.house
    given = house.correct(f"Where is {ADAS}?", "No.", "There.", user=person(house, Side.TRAIN))
    works.learn()
    first = withdraw(house.database, given.receipt)
    assert withdraw(house.database, given.receipt) == first
    assert versions(house)[1].tainted_at
    assert tables_with(house.database, ADAS) == ["message"], "the conversation isn't what was given"
    with pytest.raises(NotFound):
        withdraw(house.database, "rcpt-none")


def test_a_reply_whose_conversation_is_erased_while_it_is_written_is_not_stored(house: House) -> None:
    asked = house.reply("Where?", "", user="ada")
    with house.database.read() as session:
        reply, _ = conversations.get_reply(session, None, asked, 0)
    erase(house, completion=asked)
    with house.database.write() as session:
        conversations.finish_reply(
            session, reply.id, ADAS, MessageStatus.COMPLETE, finish_reason="stop", prompt_tokens=1, completion_tokens=1
        )
    assert tables_with(house.database, ADAS) == []


# ── at the same time ─────────────────────────────────────────────────────────────────────────────────────────


def test_words_given_while_their_conversation_is_erased_are_in_or_refused_and_none_remain(house: House) -> None:
    for _ in range(10):
        asked = house.reply(f"Where is {ADAS}?", "There.", user="ada")
        go = threading.Barrier(4)

        def give(asked: str = asked, go: threading.Barrier = go) -> None:
            go.wait()
            for _ in range(5):
                with suppress(NotFound):
                    house.say(asked, "comment", ADAS)

        with ThreadPoolExecutor(3) as threads:
            givers = [threads.submit(give) for _ in range(3)]
            go.wait()
            erase(house, completion=asked)
        for giver in givers:
            giver.result()
        assert tables_with(house.database, ADAS) == []
