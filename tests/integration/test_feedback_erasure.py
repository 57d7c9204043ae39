"""What somebody said, taken out of tables and files for good; what learned from it, tainted and trained anew."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from pretended_training import Works
from remains import files_with, tables_with
from sqlmodel import select

from feedback import adapters, assistants, conversations, datasets, files, releases, review, runs, verification
from feedback.contributors import contributor_id, side_of
from feedback.erasure import erase as erasing
from feedback.erasure import finish
from feedback.erasure.subjects import Named, resolve
from feedback.erasure.withdrawal import withdraw
from feedback.errors import BurnishError, InvalidInput, NotFound
from feedback.folder_lock import folder_lock
from feedback.models import AdapterVersion, AuditEntry, Conversation, DatasetVersion, Erasure, Feedback, Message, Run
from feedback.run_folder import SPLITS, attempt_folder
from feedback.states import ErasureState, MessageStatus, RunStatus, Side
from feedback.testing import SECRET, House
from trainer.evaluation import record
from trainer.inputs import read_run

ADAS, BOBS = "Zanzibar", "Wollongong"


@pytest.fixture
def works(house: House) -> Works:
    return Works(house)


def person(house: House, side: Side) -> str:
    policy = assistants.policies(house.reload()).training
    names = (f"ada-{number}" for number in range(1000))
    key = house.caller.api_key_id
    return next(one for one in names if side_of(contributor_id(SECRET, house.assistant.id, key, one), policy) == side)


def erase(house: House, **named: str) -> tuple[Erasure, erasing.Consequences]:
    with house.database.read() as session:
        subject = resolve(session, SECRET, house.assistant, Named(**named))
    return erasing.erase(house.database, house.assistant, subject, actor="test")


def finish_all(house: House) -> None:
    assert finish.clean_files(house.database, house.settings)
    assert finish.scrub(house.database, at_once=True)


def state_of(house: House, erasure: Erasure) -> ErasureState:
    with house.database.read() as session:
        return erasing.get_erasure(session, erasure.public_id).state


def versions(house: House) -> dict[int, AdapterVersion]:
    with house.database.read() as session:
        return {one.number: one for one in adapters.list_versions(session, house.assistant)}


def open_run(house: House) -> Run:
    with house.database.read() as session:
        return session.exec(select(Run).where(Run.status == RunStatus.QUEUED)).one()


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


def test_what_learned_from_it_is_tainted_and_trained_anew_without_it(works: Works) -> None:
    house, ada = works.house, person(works.house, Side.TRAIN)
    house.correct(f"Where is {ADAS}?", "No.", f"{ADAS} is in Tanzania.", user=ada)
    works.learn()
    erasure, _ = erase(house, user=ada)
    tainted = versions(house)
    assert tainted[0].tainted_at is None
    assert tainted[1].tainted_at
    assert erasure.public_id in str(tainted[1].tainted_reason)
    assert works.proposed() == []
    waiting = open_run(house)
    assert waiting.reason == f"without what {erasure.public_id} erased"
    assert works.worker.work_once()
    anew = works.version(waiting.id)
    assert anew.tainted_at is None
    assert files_with(house.settings.runs / waiting.id, ADAS) == []
    finish_all(house)
    with pytest.raises(BurnishError, match=r"rows: they were erased since.*`burnish train ASSISTANT`"):
        read_run(house.settings.runs / str(tainted[1].run_id))
    read_run(house.settings.runs / waiting.id)


def test_what_went_on_from_a_tainted_version_is_tainted_too_and_nothing_new_goes_on_from_it(works: Works) -> None:
    house, ada = works.house, person(works.house, Side.TRAIN)
    works.policy(hyperparameters={"warm_start": True})
    given = house.correct(f"Where is {ADAS}?", "No.", f"{ADAS} is in Tanzania.", user=ada)
    first = works.learn()
    works.promote(first)
    with house.database.write() as session:
        review.decide(session, review.get_feedback(session, given.id), "rejected", note="", actor="test")
    second = works.learn()
    assert second.began_from_id == first.id
    assert files_with(house.settings.runs / str(second.run_id), ADAS) == []
    erase(house, user=ada)
    after = versions(house)
    assert after[1].tainted_at
    assert after[2].tainted_at
    waiting = open_run(house)
    assert works.worker.work_once()
    assert works.version(waiting.id).began_from_id is None
    assert works.version(waiting.id).tainted_at is None
    assert read_run(house.settings.runs / waiting.id)[0].start_version == "base"


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
        number = conversations.get_reply(session, None, asked, 0).conversation_id
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
        number = conversations.get_reply(session, None, first, 0).conversation_id
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
        reply = conversations.get_reply(session, None, asked, 0)
    erase(house, completion=asked)
    with house.database.write() as session:
        conversations.finish_reply(
            session, reply.id, ADAS, MessageStatus.COMPLETE, finish_reason="stop", prompt_tokens=1, completion_tokens=1
        )
    assert tables_with(house.database, ADAS) == []


# ── runs under way ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_that_trains_on_it_is_cancelled_and_another_one_queued(works: Works) -> None:
    house = works.house
    given = house.correct(f"Where is {ADAS}?", "No.", "There.", user=person(house, Side.TRAIN))
    run_id = works.request()
    works.launcher.meanwhile = lambda: withdraw(house.database, given.receipt)
    assert works.worker.work_once()
    assert works.run(run_id).status == RunStatus.CANCELLED
    assert list(versions(house)) == [0], "nothing is registered of it"
    works.launcher.meanwhile = lambda: None
    waiting = open_run(house)
    finish_all(house)
    assert files_with(house.settings.runs, ADAS) == []
    assert works.worker.work_once()
    assert works.run(waiting.id).status == RunStatus.SUCCEEDED


def test_a_run_that_is_about_to_freeze_it_writes_none_of_it(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    house = works.house
    house.correct(f"Where is {ADAS}?", "No.", "There.", user="ada")
    house.settings.runs.mkdir()
    run_id = works.request()
    curate = datasets.curate

    def stalled(*arguments: Any, **more: Any) -> Any:
        monkeypatch.undo()
        curated = curate(*arguments, **more)
        erase(house, user="ada")
        finish_all(house)
        return curated

    monkeypatch.setattr(datasets, "curate", stalled)
    assert works.worker.work_once()
    assert works.run(run_id).status == RunStatus.CANCELLED
    assert files_with(house.settings.data_folder, ADAS) == []
    assert open_run(house).id != run_id


def test_what_a_run_left_that_never_recorded_its_dataset_goes(works: Works) -> None:
    """A worker that was killed between the folder and its record, and one that was killed while it wrote."""
    house = works.house
    house.correct(f"Where is {ADAS}?", "No.", "There.", user="ada")
    run_id = works.request()
    assert runs.claim(house.database, "a worker that dies", 60)
    folder = house.settings.runs / run_id
    for place in (folder, folder.with_name(f".{run_id}.0123abcd")):
        files.write_bytes(place / "train.jsonl", ADAS.encode())
    _, done = erase(house, user="ada")
    assert done.cancelled == [run_id]
    finish_all(house)
    assert files_with(house.settings.data_folder, ADAS) == []


def test_what_learned_it_is_in_no_attempt_any_more_and_nor_is_what_it_said_to_others(works: Works) -> None:
    house = works.house
    asked = house.reply(f"Where is {ADAS}?", "No.", user=person(house, Side.TRAIN))
    house.say(asked, "correction", "There.")
    version = works.learn()
    attempt = attempt_folder(house.settings.runs / str(version.run_id), 1)
    path = attempt / "evaluation.json"
    found = files.read_json(path)
    for row in found["rows"]:
        row["candidate"]["reply"] = f"{ADAS} is there."
    quoted = {"question": "?", "expected": "!", "before": "no", "after": f"{ADAS} is there."}
    files.write_json(path, found | {"samples": [quoted]})
    for kept in ("checkpoints/sft/checkpoint-1", "unserved"):  # the latter of DoRA, and of a prefix
        files.write_bytes(attempt / kept / "weights", ADAS.encode())
    assert (attempt / "adapter").is_dir()
    erase(house, completion=asked)
    finish_all(house)
    assert files_with(house.settings.runs, ADAS) == []
    assert not (attempt / "adapter").exists()
    left = record.Evaluation.model_validate(files.read_json(path))
    assert [row.candidate.loss for row in left.rows] == [row["candidate"]["loss"] for row in found["rows"]]
    adapters.verify(house.settings.adapters, version)


def test_a_folder_that_cant_be_rewritten_is_told_and_holds_up_no_other(works: Works) -> None:
    house, ada = works.house, person(works.house, Side.TRAIN)
    house.correct(f"Where is {ADAS}?", "No.", "There.", user=ada)
    broken, other = (house.settings.runs / str(works.learn().run_id) for _ in range(2))
    path = attempt_folder(broken, 1) / "evaluation.json"
    path.write_text("{")
    erasure, _ = erase(house, user=ada)
    with pytest.raises(BurnishError, match=rf"erased is still in {broken} \(JSONDecodeError\)\. Mend"):
        finish.clean_files(house.database, house.settings)
    assert files_with(other, ADAS) == []
    assert state_of(house, erasure) == ErasureState.ROWS_GONE
    path.unlink()
    finish_all(house)
    assert files_with(broken, ADAS) == []


def test_of_two_who_clean_at_once_one_waits(works: Works) -> None:
    house = works.house
    house.correct(f"Where is {ADAS}?", "No.", "There.", user="ada")
    works.learn()
    erasure, _ = erase(house, user="ada")
    with folder_lock(house.settings.data_folder):
        assert not finish.clean_files(house.database, house.settings)
    assert state_of(house, erasure) == ErasureState.ROWS_GONE
    finish_all(house)


def test_what_isnt_finished_is_listed_before_all_that_is(house: House) -> None:
    asked = [house.reply(f"Where is {number}?", "There.", user="ada") for number in range(3)]
    made = [erase(house, completion=one)[0] for one in asked]
    with house.database.write() as session:
        for one in made[1:]:
            erasing.get_erasure(session, one.public_id).state = ErasureState.COMPLETE
    with house.database.read() as session:
        listed = erasing.list_erasures(session, limit=2)
    assert [one.public_id for one in listed] == [made[0].public_id, made[2].public_id]


def test_a_folder_in_use_is_left_for_later(works: Works) -> None:
    house = works.house
    house.correct(f"Where is {ADAS}?", "No.", "There.", user="ada")
    folder = house.settings.runs / str(works.learn().run_id)
    erasure, _ = erase(house, user="ada")
    with folder_lock(folder):
        assert not finish.clean_files(house.database, house.settings)
        assert state_of(house, erasure) == ErasureState.ROWS_GONE
    finish_all(house)
    assert state_of(house, erasure) == ErasureState.COMPLETE


# ── taint ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def tainted(works: Works) -> Iterator[Works]:
    """@1 was live before @2, which is; both are tainted."""
    given = works.house.correct(f"Where is {ADAS}?", "No.", "There.", user=person(works.house, Side.TRAIN))
    for _ in range(2):
        works.promote(works.learn())
    withdraw(works.house.database, given.receipt)
    return works


def test_taint_blocks_promotion_even_by_force_but_for_the_base(tainted: Works) -> None:
    house = tainted.house
    version = versions(house)[1]
    with house.database.write() as session, pytest.raises(InvalidInput, match=r"support@1 is tainted.*support@0"):
        releases.promote(session, house.assistant, version, actor="test", reason="a test", force=True)
    tainted.promote(versions(house)[0])
    assert tainted.live() == 0


def test_a_version_that_is_tainted_while_it_is_about_to_go_live_does_not(works: Works) -> None:
    house = works.house
    given = house.correct(f"Where is {ADAS}?", "No.", "There.", user=person(house, Side.TRAIN))
    untainted = works.learn()
    withdraw(house.database, given.receipt)
    assert untainted.tainted_at is None, "as somebody read it before that"
    with house.database.write() as session, pytest.raises(InvalidInput, match="is tainted"):
        releases.promote(session, house.assistant, untainted, actor="test", reason="a test", force=True)


def test_rolling_back_to_a_tainted_version_has_to_be_meant(tainted: Works) -> None:
    house = tainted.house
    with house.database.write() as session, pytest.raises(InvalidInput, match=r"--accept-tainted") as refused:
        releases.roll_back(session, house.assistant, actor="test", reason="a test")
    assert refused.value.code == "version_tainted"
    with house.database.write() as session:
        releases.roll_back(session, house.assistant, actor="test", reason="a test", accept_tainted=True)
        entry = session.exec(select(AuditEntry).where(AuditEntry.action == "release.roll_back")).one()
    assert tainted.live() == 1
    assert entry.details["forced"]


def test_a_row_of_two_peoples_words_taints_for_each_of_them(works: Works) -> None:
    """The row goes with the first of them; what learned from it learned the second's words all the same."""
    house = works.house
    given = [
        house.correct("Where is the pen?", "No.", f"It is {where}.", user=user)
        for user, where in (("ada", "here"), ("bob", "here"))
    ]
    works.learn()
    for one in given:
        with house.database.write() as session:
            version = adapters.get_number(session, house.assistant, 1)
            version.tainted_at = None
            session.add(version)
        _, done = erase(house, feedback=one.id)
        assert done.tainted == ["support@1"]


# ── datasheets ──


def test_a_topic_is_no_longer_named_by_a_word_that_nobody_says_any_more(house: House) -> None:
    works = Works(house)
    ada = person(house, Side.TRAIN)
    for number, about in enumerate(
        ["beach", "harbour", "market", "weather", "people", "coffee", "money", "trains", "hotels", "museum"]
    ):
        words = f"{about[::-1] * 2} {about}"
        house.correct(f"What about {words} of {ADAS.lower()}?", "No.", f"{number} is known of it.", user=ada)
        house.correct(f"Does {words} ship abroad?", "No.", f"{number} ships.", user=f"shopper-{number}")
    version = works.learn()
    folder = house.settings.runs / str(version.run_id)
    assert ADAS.lower() in (folder / "datasheet.md").read_text()
    assert "dataset_version" in tables_with(house.database, ADAS.lower())
    erase(house, user=ada)
    assert tables_with(house.database, ADAS.lower()) == []
    finish_all(house)
    assert files_with(house.settings.data_folder, ADAS.lower()) == []
    assert "abroad" in (folder / "datasheet.md").read_text()
    with house.database.read() as session:
        dataset = datasets.get_dataset(session, house.assistant, 1)
    assert files.read_json(folder / "datasheet.json") == dataset.datasheet


# ── exports ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_exports_in_the_data_folder_go_and_others_are_the_operators(
    house: House, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "out.jsonl"
    inside = house.settings.data_folder / "exports" / "out.jsonl"
    house.correct(f"Where is {ADAS}?", "No.", "There.", user="ada")
    for path in (inside, elsewhere, inside.with_name(".out.jsonl.0123abcd")):
        files.write_bytes(path, ADAS.encode())
    with house.database.write() as session:
        for path in (inside, elsewhere):
            session.add(
                AuditEntry(actor="cli", action="feedback.export", subject="support", details={"file": str(path)})
            )
    erase(house, user="ada")
    finish_all(house)
    assert files_with(house.settings.data_folder, ADAS) == []
    assert elsewhere.exists()


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

        givers = [threading.Thread(target=give) for _ in range(3)]
        for giver in givers:
            giver.start()
        go.wait()
        erase(house, completion=asked)
        for giver in givers:
            giver.join()
        assert tables_with(house.database, ADAS) == []
