"""Datasets frozen into run folders: whole, by their content's address, and nobody else's words in them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from freezing import claim, freeze, learn, person, record, register, rows_in
from sqlmodel import select

from feedback import adapters, assistants, conversations, datasets, files, runs
from feedback.collect import receipts
from feedback.errors import Conflict, LeaseLost, NotFound
from feedback.gather import gather
from feedback.models import Feedback
from feedback.run_folder import SPLITS, Row, RunSpec
from feedback.states import Consent, MessageStatus, Side
from feedback.testing import House, open_house


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[House]:
    """A deployment on SQLite alone, for what doesn't depend on the kind of database."""
    with open_house(tmp_path, training={"min_preference_pairs": 2}) as house:
        yield house


# ── the folder ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_frozen_folder_is_whole_and_run_json_names_every_file_by_its_hash(house: House) -> None:
    house.correct("Which colour?", "Red.", "Blue.", "Blue", user=person(house, Side.TRAIN))
    house.correct("What size is it?", "Tall.", "Small.", user=person(house, Side.GATE))
    baseline = house.settings.data_folder / "serving"
    for name in adapters.CONTENT:
        files.write_bytes(baseline / name, name.encode())
    folder, frozen = freeze(house, "run-1", baseline)
    spec = RunSpec.model_validate(files.read_json(folder / "run.json"))
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {"run.json"}
    present -= {f"{split}.jsonl" for split in SPLITS} | {"datasheet.json", "datasheet.md"}  # of which erasure may take
    assert spec.files == {name: files.file_sha256(folder / name) for name in present}
    expected = {"rows.txt", "suites/general.txt"}
    assert present == expected | {f"baseline/{name}" for name in (*adapters.CONTENT, files.MANIFEST)}
    assert files.folder_sha256(folder / "baseline") == files.folder_sha256(baseline)
    assert spec.dataset_sha256 == frozen.sha256 == files.file_sha256(folder / "rows.txt")
    rows = {split: [Row.model_validate(row) for row in rows_in(folder, split)] for split in SPLITS}
    assert [(row.method, row.key_facts) for row in rows["train"]] == [("sft", ["Blue"])]
    assert {row.method for row in rows["gate"]} == {"sft", "dpo"}
    assert rows["train"][0].prompt[0].content == "Answer briefly."
    assert files.read_json(folder / "datasheet.json") == frozen.sheet
    assert list(folder.parent.iterdir()) == [folder]  # nothing is left aside


def test_the_same_data_has_the_same_content_address(embedded: House) -> None:
    embedded.correct("Which colour?", "Red.", "Blue.", user="ada")
    first, again = freeze(embedded, "run-1")[1].sha256, freeze(embedded, "run-2")[1].sha256
    embedded.correct("Which size?", "Tall.", "Small.", user="ada")
    assert first == again != freeze(embedded, "run-3")[1].sha256


def test_a_half_finished_freeze_is_replaced(embedded: House) -> None:
    embedded.correct("Which colour?", "Red.", "Blue.", user="ada")
    folder, _ = freeze(embedded, "run-1")
    (folder / "run.json").unlink()
    (folder / "train.jsonl").write_text("half a li")
    (folder / "leftover").write_text("x")
    again, frozen = freeze(embedded, "run-1")
    spec = RunSpec.model_validate(files.read_json(again / "run.json"))
    assert spec.dataset_sha256 == frozen.sha256
    assert all(files.file_sha256(again / name) == sha256 for name, sha256 in spec.files.items())
    assert not (again / "leftover").exists()


def test_a_freeze_that_fails_leaves_the_folder_as_it_was(embedded: House) -> None:
    embedded.correct("Which colour?", "Red.", "Blue.", user="ada")
    folder, _ = freeze(embedded, "run-1")
    before = files.file_sha256(folder / "run.json")
    with pytest.raises(OSError, match="nowhere"):
        freeze(embedded, "run-1", folder / "nowhere")
    assert files.file_sha256(folder / "run.json") == before
    assert list(folder.parent.iterdir()) == [folder]


def test_a_folder_that_was_trained_in_is_never_replaced(embedded: House) -> None:
    embedded.correct("Which colour?", "Red.", "Blue.", user="ada")
    folder, _ = freeze(embedded, "run-1")
    (folder / "attempt-1").mkdir()
    before = files.file_sha256(folder / "run.json")
    with pytest.raises(Conflict, match="attempt"):
        freeze(embedded, "run-1")
    assert files.file_sha256(folder / "run.json") == before
    assert list(folder.parent.iterdir()) == [folder]


def test_a_freeze_that_lost_its_lease_leaves_the_folder_to_the_other(embedded: House) -> None:
    embedded.correct("Which colour?", "Red.", "Blue.", user="ada")
    held = claim(embedded)

    @contextmanager
    def fence() -> Iterator[None]:
        with embedded.database.write() as session:
            runs.require_lease(session, held)
            yield

    folder, _ = freeze(embedded, held.run_id, fence=fence)
    theirs = files.file_sha256(folder / "run.json")
    with embedded.database.write() as session:
        runs.get_run(session, held.run_id).lease_token = "another worker's"
    embedded.correct("Which size?", "Tall.", "Small.", user="ada")
    with pytest.raises(LeaseLost):
        freeze(embedded, held.run_id, fence=fence)
    assert files.file_sha256(folder / "run.json") == theirs
    assert list(folder.parent.iterdir()) == [folder]


def test_a_choice_against_an_unfinished_reply_teaches_nothing(embedded: House) -> None:
    user = person(embedded, Side.TRAIN)
    chosen, other = (embedded.reply("Which colour?", text, user=user) for text in ("Blue.", "Re"))
    with embedded.database.write() as session:
        rejected, _ = conversations.get_reply(session, None, other, 0)
        conversations.finish_reply(
            session, rejected.id, "Re", MessageStatus.STOPPED, finish_reason=None, prompt_tokens=1, completion_tokens=1
        )
    embedded.say(chosen, "preference", {"rejected": {"completion_id": other}})
    with embedded.database.read() as session:
        curated = datasets.preview(session, embedded.assistant).curated
    assert [out.reason for out in curated.dropped] == ["the other reply was cut off"]


@pytest.mark.parametrize("consent", Consent)
@pytest.mark.parametrize("rejected", [True, None, False])
@pytest.mark.parametrize("chosen", [True, None, False])
def test_a_choice_needs_the_grant_for_both_of_its_replies(
    embedded: House, chosen: bool | None, rejected: bool | None, consent: Consent
) -> None:
    user = person(embedded, Side.TRAIN)
    this = embedded.reply("Which colour?", "Blue.", user=user, store=chosen)
    that = embedded.reply("Which colour?", "Red.", user=user, store=rejected)
    embedded.say(this, "preference", {"rejected": {"completion_id": that}}, training=True)
    with embedded.database.write() as session:
        assistants.set_consent(session, embedded.reload(), consent, actor="test")
    with embedded.database.read() as session:
        curated = datasets.preview(session, embedded.reload()).curated
    refused = [out.reason for out in curated.dropped if out.stage == "consent"]
    granted = all(store if store is not None else consent == Consent.OPT_OUT for store in (chosen, rejected))
    assert refused == ([] if granted else ["the conversation may not be used for training"])


def test_datasets_are_numbered_and_found(embedded: House) -> None:
    embedded.correct("Which colour?", "Red.", "Blue.", user=person(embedded, Side.TRAIN))
    learn(embedded)
    learn(embedded)
    with embedded.database.read() as session:
        assert [one.number for one in datasets.list_datasets(session, embedded.assistant)] == [2, 1]
        assert datasets.get_dataset(session, embedded.assistant, 1).number == 1
        with pytest.raises(NotFound, match="burnish dataset list"):
            datasets.get_dataset(session, embedded.assistant, 3)
        with pytest.raises(NotFound):
            receipts.look_up(session, "rcpt-none")


def test_reports_comments_and_other_assistants_words_are_never_gathered(embedded: House) -> None:
    completion = embedded.reply("Which colour?", "Red.")
    embedded.say(completion, "report", "wrong")
    embedded.say(completion, "comment", "Nice.")
    House(embedded.settings, embedded.database, "school").correct("Which size?", "Tall.", "Small.")
    with embedded.database.read() as session:
        assert gather(session, embedded.assistant) == []
        assert len(session.exec(select(Feedback)).all()) == 3


def test_what_anonymous_people_said_never_changes_sides(embedded: House) -> None:
    """A row that was trained on would favour the version that learned it, were it to judge."""

    def set_training(**policy: Any) -> None:
        with embedded.database.write() as session:
            assistants.set_policies(session, embedded.assistant, {"training": policy}, actor="test")

    set_training(min_ratings=2, gate_fraction=0.3)
    for number in range(1, 25):
        question = " ".join(chr(ord("a") + number * place % 23) * 4 for place in range(3, 12))
        embedded.say(embedded.reply(question, "Here."), "rating", 1, anonymous=True)

    def sides() -> dict[str, Side]:
        held = claim(embedded)
        frozen = freeze(embedded, held.run_id)[1]
        record(embedded, held, frozen)
        register(embedded, held)
        return {planned.id: planned.side for planned in frozen.curated.rows}

    before = sides()
    set_training(gate_fraction=0.8)
    assert set(before.values()) >= {Side.TRAIN, Side.GATE}
    assert sides() == before
