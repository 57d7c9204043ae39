"""Datasets frozen into run folders, their lineage both ways, and what receipts tell of it."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from feedback import adapters, assistants, conversations, datasets, files, lineage, releases, review, runs
from feedback.collect import receipts
from feedback.contributors import contributor_id, side_of
from feedback.datasets import Frozen
from feedback.errors import Conflict, LeaseLost, NotFound
from feedback.gather import gather
from feedback.models import AdapterVersion, Example, Feedback
from feedback.run_folder import SPLITS, Row, RunSpec, Split
from feedback.runs import Claim
from feedback.states import Consent, FeedbackStatus, MessageStatus, ReviewDecision, Side
from feedback.testing import SECRET, House, open_house

SUITES = {"general.txt": b"Some text.\n\nMore text."}


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[House]:
    """A deployment on SQLite alone, for what doesn't depend on the kind of database."""
    with open_house(tmp_path, training={"min_preference_pairs": 2}) as house:
        yield house


def person(house: House, side: Side, number: int = 0) -> str:
    """The `number`th user whose rows all go to `side`."""
    policy = assistants.policies(house.reload()).training
    fitting = (
        user
        for user in (f"user-{index}" for index in count())
        if side_of(contributor_id(SECRET, house.assistant.id, house.caller.api_key_id, user), policy) == side
    )
    return next(user for index, user in enumerate(fitting) if index == number)


def claim(house: House) -> Claim:
    with house.database.write() as session:
        runs.request(session, house.assistant, "a test", actor="test")
    held = runs.claim(house.database, "test", 60)
    assert held is not None
    return held


def freeze(house: House, run_id: str, baseline: Path | None = None, **fence: Any) -> tuple[Path, Frozen]:
    folder = house.settings.runs / run_id
    policies = assistants.policies(house.reload())

    def spec(frozen: Frozen, hashes: dict[str, str]) -> RunSpec:
        return RunSpec(
            run_id=run_id,
            assistant=house.name,
            base_model=house.assistant.base_model,
            baseline_version="base",
            methods=frozen.curated.methods,
            hyperparameters=policies.hyperparameters,
            verdict=policies.verdict,
            seed=1,
            dataset_sha256=frozen.sha256,
            files=hashes,
        )

    with house.database.read() as session:
        material = datasets.gather_material(session, house.reload())
    return folder, datasets.freeze(material, folder, SUITES, baseline, spec, **fence)


def rows_in(folder: Path, split: Split) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_bytes().splitlines()]


def record(house: House, held: Claim, frozen: Frozen) -> int:
    datasets.tell_givers(house.database, frozen.curated)
    with house.database.write() as session:
        run = runs.get_run(session, held.run_id)
        return datasets.record(session, house.assistant, run, frozen).number


def register(house: House, held: Claim) -> AdapterVersion:
    with house.database.write() as session:
        sha256 = hashlib.sha256(held.run_id.encode()).hexdigest()
        version = adapters.register(session, house.assistant, sha256, held.run_id)
        runs.finish(session, held)
    return version


def learn(house: House) -> AdapterVersion:
    """A whole run, but for the training."""
    held = claim(house)
    record(house, held, freeze(house, held.run_id)[1])
    return register(house, held)


def told(house: House, receipt: str) -> tuple[str, str]:
    with house.database.read() as session:
        found = receipts.look_up(session, receipt)
    return found.status, found.detail


def status_of(house: House, public_id: str) -> FeedbackStatus:
    with house.database.read() as session:
        return review.get_feedback(session, public_id).status


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


# ── lineage and receipts ─────────────────────────────────────────────────────────────────────────────────────


def test_receipts_follow_feedback_from_received_to_live_and_back(house: House) -> None:
    taught = house.correct("Which colour?", "Red.", "Blue.", user=person(house, Side.TRAIN))
    judging = house.correct("What size is it?", "Tall.", "Small.", user=person(house, Side.GATE))
    useless = house.correct("How long is it?", "Long.", "long", user=person(house, Side.TRAIN, 1))
    assert [told(house, given.receipt)[0] for given in (taught, judging, useless)] == ["received"] * 3

    held = claim(house)
    assert record(house, held, freeze(house, held.run_id)[1]) == 1
    assert told(house, taught.receipt) == ("used", "Used in dataset v1.")
    assert told(house, judging.receipt)[0] == "used"
    assert told(house, useless.receipt) == (
        "declined",
        "Not learned from: the correction says what the reply said.",
    )

    version = register(house, held)
    assert told(house, taught.receipt) == ("learned", "Learned by support@1.")
    assert told(house, judging.receipt)[1].startswith("Used to judge support@1; kept out of training")

    with house.database.write() as session:
        releases.promote(session, house.assistant, version, actor="test", reason="a test", force=True)
    status, words = told(house, taught.receipt)
    assert status == "live"
    assert words.startswith("Learned by support@1, which has been answering since 2")
    assert told(house, judging.receipt)[0] == "used"

    with house.database.write() as session:
        releases.roll_back(session, house.assistant, actor="test", reason="a test")
    assert told(house, taught.receipt)[0] == "learned"


def test_lineage_is_walkable_both_ways(house: House) -> None:
    taught = [house.correct(f"{c * 8}?", "No.", f"Yes {c}.", user=person(house, Side.TRAIN)) for c in "abc"]
    house.correct("What size is it?", "Tall.", "Small.", user=person(house, Side.GATE))
    version = learn(house)
    with house.database.read() as session:
        ids = [review.get_feedback(session, given.id).id for given in taught]
        assert all(lineage.reach_of(session, one).version == "support@1" for one in ids)
        (dataset,) = datasets.list_datasets(session, house.assistant)
        behind = {one.id: {use.side for use in uses} for one, uses in lineage.page_of(session, dataset.id)}
        assert {one for one, sides in behind.items() if Side.TRAIN in sides} == set(ids)
        examples = session.exec(select(Example).where(Example.dataset_version_id == dataset.id)).all()
    folder = house.settings.runs / str(version.run_id)
    rows = {(row["id"], split) for split in SPLITS for row in rows_in(folder, split)}
    assert {(example.row_id, example.side.value) for example in examples} == rows
    assert dataset.sha256 == files.read_json(folder / "run.json")["dataset_sha256"]


def test_a_receipt_names_the_version_that_is_live_else_the_newest(embedded: House) -> None:
    taught = embedded.correct("Which colour?", "Red.", "Blue.", user=person(embedded, Side.TRAIN))
    first, second = learn(embedded), learn(embedded)
    assert told(embedded, taught.receipt) == ("learned", "Learned by support@2.")
    for version in (first, second):
        with embedded.database.write() as session:
            releases.promote(session, embedded.assistant, version, actor="test", reason="a test", force=True)
        assert f"support@{version.number}, which" in told(embedded, taught.receipt)[1]
    with embedded.database.write() as session:
        releases.roll_back(session, embedded.assistant, actor="test", reason="a test")
    assert "support@1, which" in told(embedded, taught.receipt)[1]


def test_what_no_method_trained_on_is_not_called_learned(embedded: House) -> None:
    user = person(embedded, Side.TRAIN)
    rated = embedded.say(embedded.reply("Which size?", "Tall.", user=user), "rating", 1)
    embedded.correct("Which colour?", "Red.", "Blue.", user=user)
    learn(embedded)
    status, words = told(embedded, rated.receipt)
    assert status == "declined"
    assert "min_ratings" in words


def test_a_reviewers_no_keeps_feedback_out_and_its_note_is_told(embedded: House) -> None:
    user = person(embedded, Side.TRAIN)
    turned_down = embedded.correct("Which colour?", "Red.", "Blue.", user=user)
    embedded.correct("What size is it?", "Tall.", "Small.", user=user)
    with embedded.database.write() as session:
        feedback = review.get_feedback(session, turned_down.id)
        review.decide(session, feedback, ReviewDecision.REJECTED, note="It is red.", actor="test")
    assert told(embedded, turned_down.receipt) == ("declined", "Not learned from: It is red.")
    learn(embedded)
    assert told(embedded, turned_down.receipt) == ("declined", "Not learned from: It is red.")
    with embedded.database.write() as session:
        assert receipts.look_up(session, turned_down.receipt).note == "It is red."
        feedback = review.get_feedback(session, turned_down.id)
        review.decide(session, feedback, ReviewDecision.APPROVED, note="It is blue after all.", actor="test")
    assert told(embedded, turned_down.receipt)[0] == "received"
    learn(embedded)
    assert told(embedded, turned_down.receipt) == ("learned", "Learned by support@2.")


def test_a_word_replaced_while_the_dataset_was_frozen_stays_replaced(house: House) -> None:
    completion = house.reply("Which colour?", "Red.", user=person(house, Side.TRAIN))
    earlier = house.say(completion, "correction", "Blue.")
    held = claim(house)
    _, frozen = freeze(house, held.run_id)
    newer = house.say(completion, "correction", "Green.")
    record(house, held, frozen)
    assert status_of(house, earlier.id) == FeedbackStatus.REPLACED
    assert status_of(house, newer.id) == FeedbackStatus.RECEIVED
    with house.database.read() as session:
        assert [item.correction for item in gather(session, house.assistant)] == ["Green."]


def test_a_word_turned_down_while_the_dataset_was_frozen_stays_declined(embedded: House) -> None:
    given = embedded.correct("Which colour?", "Red.", "Blue.", user=person(embedded, Side.TRAIN))
    held = claim(embedded)
    _, frozen = freeze(embedded, held.run_id)
    with embedded.database.write() as session:
        feedback = review.get_feedback(session, given.id)
        review.decide(session, feedback, ReviewDecision.REJECTED, note="No.", actor="test")
    record(embedded, held, frozen)
    assert status_of(embedded, given.id) == FeedbackStatus.DECLINED


def test_what_the_curation_declined_is_looked_at_again(embedded: House) -> None:
    user = person(embedded, Side.TRAIN)
    choices = [embedded.reply(f"{letter * 8}?", ["Yes.", "No."], user=user) for letter in "ab"]
    first = embedded.say(choices[0], "preference", {"rejected": {"choice": 1}})
    embedded.say(embedded.reply("cccccccc?", "", user=user), "correction", "Yes.")  # makes no pair
    learn(embedded)
    assert told(embedded, first.receipt)[0] == "declined"  # a pair is too few
    embedded.say(choices[1], "preference", {"rejected": {"choice": 1}})
    learn(embedded)
    assert told(embedded, first.receipt) == ("learned", "Learned by support@2.")


def test_what_one_person_alone_says_is_held_back_until_another_says_it_or_a_reviewer_approves(house: House) -> None:
    with house.database.write() as session:
        assistants.set_policies(session, house.reload(), {"trust": {"min_voices": 2}}, actor="test")
    ada, bob = (person(house, Side.TRAIN, number) for number in (0, 1))
    fact, other = (
        house.correct("Which colour is it?", "Red.", "It is blue.", "blue", user=ada),
        house.correct("How large is it?", "Small.", "It is large.", "large", user=ada),
    )
    known = house.correct("Is it new?", "Yes, it is new, I think.", "It is new.", user=ada)  # tells nothing new
    held = "Held back for now, for a person to look at: a new fact that fewer than 2 people told us."
    learn(house)
    assert [told(house, given.receipt) for given in (fact, other)] == [("in_review", held)] * 2
    assert told(house, known.receipt) == ("learned", "Learned by support@1.")
    with house.database.read() as session:
        waiting = review.list_feedback(session, house.assistant, status=FeedbackStatus.IN_REVIEW)
    assert [one.public_id for one in waiting] == [other.id, fact.id]

    house.correct("Tell me its colour.", "Green?", "Its colour is blue.", "blue", user=bob)
    with house.database.write() as session:
        review.decide(session, review.get_feedback(session, other.id), ReviewDecision.APPROVED, note=None, actor="test")
    learn(house)
    assert [told(house, given.receipt)[0] for given in (fact, other)] == ["learned"] * 2


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
