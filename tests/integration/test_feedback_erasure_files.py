"""Erased words in files: runs under way are cancelled; attempts, folders, datasheets and exports are cleaned."""

from typing import Any

import pytest
from erasures import ADAS, erase, finish_all, open_run, person, state_of, versions
from pretended_training import Works
from remains import files_with, tables_with

from feedback import adapters, datasets, files, runs
from feedback.curate import pipeline
from feedback.erasure import erase as erasing
from feedback.erasure import finish
from feedback.erasure.withdrawal import withdraw
from feedback.errors import BurnishError
from feedback.folder_lock import folder_lock
from feedback.models import AuditEntry
from feedback.policies import VerdictPolicy
from feedback.run_folder import attempt_folder
from feedback.states import ErasureState, RunStatus, Side
from feedback.testing import House
from trainer.evaluation import record
from trainer.evaluation.page import page
from trainer.evaluation.report import report
from trainer.evaluation.verdict import judge


@pytest.fixture
def works(house: House) -> Works:
    return Works(house)


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
    curate = pipeline.curate

    def stalled(*arguments: Any, **more: Any) -> Any:
        monkeypatch.undo()
        curated = curate(*arguments, **more)
        erase(house, user="ada")
        finish_all(house)
        return curated

    monkeypatch.setattr(pipeline, "curate", stalled)
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
    grouped = {"by": "topic", "group": ADAS, "rows": 5, "gain": -0.5}
    quotes = {"samples": [quoted], "worst": [quoted | {"id": "r1", "gain": -1.0}], "groups": [grouped]}
    files.write_json(path, found | quotes)
    evaluation = record.Evaluation.model_validate(files.read_json(path))
    verdict = judge(evaluation, VerdictPolicy())
    for name, text in (
        ("report.md", report(evaluation, verdict, {"loss_history": []})),
        ("report.html", page(evaluation, verdict, {}, {})),
    ):
        assert text.count(ADAS) >= 3
        files.write_bytes(attempt / name, text.encode())
    for kept in ("checkpoints/sft/checkpoint-1", "unserved"):  # the latter of DoRA, and of a prefix
        files.write_bytes(attempt / kept / "weights", ADAS.encode())
    assert (attempt / "adapter").is_dir()
    erase(house, completion=asked)
    finish_all(house)
    assert files_with(house.settings.runs, ADAS) == []
    assert not (attempt / "adapter").exists()
    assert (attempt / "report.md").read_text().startswith(f"# {verdict.verdict.value}")
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


# ── datasheets ───────────────────────────────────────────────────────────────────────────────────────────────


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
