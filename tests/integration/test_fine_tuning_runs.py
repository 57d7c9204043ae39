"""A job's run through the real worker, with a training process that only pretends: what is frozen, judged and left."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from pretended_training import Works
from sqlmodel import select
from training_files import jsonl, preferred, said, taught

from feedback import datasets, due, files, runs
from feedback.erasure import finish
from feedback.erasure.erase import erase
from feedback.erasure.subjects import Subject
from feedback.errors import Conflict
from feedback.fine_tuning import files as uploads
from feedback.fine_tuning import jobs
from feedback.fine_tuning.models import FineTuningJob
from feedback.fine_tuning.requests import JobCreate
from feedback.models import AdapterVersion, DatasetVersion, Erasure, ExampleSource, Feedback, Run
from feedback.row_hashes import find_rows, read_list
from feedback.run_folder import Row, RunSpec
from feedback.states import ErasureKind, ErasureState, RunStatus
from feedback.testing import House
from feedback.verification import verify


def upload(house: House, lines: Iterable[Any]) -> str:
    with uploads.Incoming(house.settings) as incoming:
        incoming.write(jsonl(lines))
    with house.database.write() as session:
        return uploads.keep(session, incoming, house.caller, filename="keys.jsonl").public_id


def start(house: House, lines: Iterable[Any], **more: Any) -> FineTuningJob:
    """A job for the assistant, its files read and its run queued."""
    asked = JobCreate(model=house.name, training_file=upload(house, lines), **more)
    with house.database.write() as session:
        made = jobs.create(session, house.caller, house.reload(), asked)
    jobs.advance(house.database, house.settings)
    return job(house, made.public_id)


def job(house: House, job_id: str) -> FineTuningJob:
    with house.database.read() as session:
        return jobs.get(session, house.caller, job_id)


def run_of(house: House, made: FineTuningJob) -> Run:
    assert made.run_id is not None
    with house.database.read() as session:
        return runs.get_run(session, made.run_id)


def rows(house: House, made: FineTuningJob, side: str) -> list[Row]:
    lines = (house.settings.runs / str(made.run_id) / f"{side}.jsonl").read_text().splitlines()
    return [Row.model_validate_json(line) for line in lines]


def spec(house: House, made: FineTuningJob) -> RunSpec:
    return RunSpec.model_validate(files.read_json(house.settings.runs / str(made.run_id) / "run.json"))


def test_a_job_learns_its_file_and_leaves_feedback_alone(works: Works) -> None:
    house = works.house
    works.policy(release={"promotion": "auto"}, training={"min_new_feedback": 8, "min_seconds_between_runs": 0})
    made = start(house, map(taught, range(60)), seed=5, method={"type": "supervised"})
    assert works.worker.work_once()
    run = run_of(house, made)
    assert (run.status, run.error, run.seed) == (RunStatus.SUCCEEDED, None, 5)

    by_side = {side: rows(house, made, side) for side in ("train", "dev", "gate")}
    assert sum(map(len, by_side.values())) == 60
    assert all(len(some) >= 2 for some in by_side.values())
    said_by_side = [{row.contributor for row in some} for some in by_side.values()]
    assert not said_by_side[0] & said_by_side[1] | said_by_side[0] & said_by_side[2]
    assert {(row.method, row.prompt[0].role, row.prompt[0].content) for row in by_side["train"]} == {
        ("sft", "system", "Answer briefly.")
    }, "the guidelines are in front, as in serving"
    with house.database.read() as session:
        dataset = session.get_one(DatasetVersion, run.dataset_version_id)
        assert session.exec(select(ExampleSource)).all() == []
        assert {one.status for one in session.exec(select(Feedback))} == {"received"}
        file = uploads.find(session, made.training_file)
    assert file is not None
    assert dataset.datasheet["origins"][0]["origin"] == f"import:{file.public_id}, sha256 {file.sha256}"
    with house.database.read() as session:
        assert verify(session, house.settings.runs, dataset).rows == 60

    assert works.judged_against(works.version(run.id)) == 0
    assert (works.live(), works.proposed()) == (0, [1]), "it was judged better, and nobody said that it should serve"
    ended = job(house, made.public_id)
    with house.database.read() as session:
        results = uploads.get(session, house.caller, str(ended.result_file))
    assert uploads.path_of(house.settings, results).read_text().startswith("stage,step,epoch,train_loss")
    # eight corrections still wait, which no job has learned
    assert [one.reason for one in due.request_what_is_due(house.database)] == [
        "8 new corrections and choices (the policy asks for 8)"
    ]


def test_a_validation_file_judges_and_guides_and_all_the_rest_trains(works: Works) -> None:
    house = works.house
    others = [taught(number, "the {} box of {} is what in {} ?") for number in range(40)]
    checking, again = upload(house, others), others[:2]
    made = start(house, [*map(taught, range(30)), *again], validation_file=checking)
    assert works.worker.work_once()
    by_side = {side: rows(house, made, side) for side in ("train", "dev", "gate")}
    assert len(by_side["train"]) == 30, "what the validation file asks, too, isn't taught"
    assert len(by_side["dev"]) + len(by_side["gate"]) == 40
    assert min(len(by_side["dev"]), len(by_side["gate"])) >= 10
    with house.database.read() as session:
        sheet = session.get_one(DatasetVersion, run_of(house, made).dataset_version_id).datasheet
    assert [(out["stage"], out["items"]) for out in sheet["dropped"]] == [("split", 2)]


def test_every_reply_of_a_conversation_is_learned_unless_its_weight_is_0(works: Works) -> None:
    def conversation(number: int) -> dict[str, Any]:
        first = taught(number)["messages"]
        more = [said("user", "and the box ?"), said("assistant", "no", weight=0), said("user", "sure ?")]
        return {"messages": [said("system", "Be kind."), *first, *more, said("assistant", f"yes {number}")]}

    made = start(works.house, map(conversation, range(20)))
    assert works.worker.work_once()
    learned, *held_out = (rows(works.house, made, side) for side in ("train", "dev", "gate"))
    asked = {row.contributor for row in learned}
    assert len(learned) == 2 * len(asked) >= 26
    replies = [turn.content for row in learned for turn in row.completion or ()]
    assert len([reply for reply in replies if reply.startswith("yes")]) == len(asked)
    assert "no" not in replies
    assert len({row.contributor for some in held_out for row in some}) == 20 - len(asked)
    longest = max(learned, key=lambda row: len(row.prompt)).prompt
    assert [turn.role for turn in longest] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert longest[0].content == "Answer briefly.\n\nBe kind."


def test_choices_train_with_the_jobs_own_hyperparameters(works: Works) -> None:
    own = {"n_epochs": 3, "batch_size": 2, "learning_rate_multiplier": 2, "beta": 0.3}
    works.policy(training={"max_preference_pairs": 8}, hyperparameters={"warm_start": True, "search_trials": 4})
    made = start(works.house, map(preferred, range(60)), method={"type": "dpo", "dpo": {"hyperparameters": own}})
    assert works.worker.work_once()
    frozen = spec(works.house, made)
    chosen = frozen.hyperparameters
    assert frozen.methods == ["dpo"]
    assert (chosen.preference_epochs, chosen.per_device_train_batch_size, chosen.beta) == (3, 2, 0.3)
    assert chosen.preference_learning_rate == pytest.approx(2e-4)
    assert (chosen.num_train_epochs, chosen.learning_rate) == (6, 7e-4)
    assert (chosen.warm_start, chosen.search_trials) == (False, 0), "it learns its file and nothing else"
    kept = rows(works.house, made, "train")
    assert len(kept) > 40, "no policy's max_preference_pairs is an operator's file's"
    assert kept[0].chosen is not None
    assert kept[0].rejected is not None


def test_identifiers_are_replaced_and_what_is_too_long_is_left_out_and_told(works: Works) -> None:
    def private(number: int) -> dict[str, Any]:
        asked, right = taught(number)["messages"]
        return {"messages": [asked, said("assistant", f"ask ada{number}@example.org , {right['content']}")]}

    long = {"messages": [said("user", "tell me all"), said("assistant", "the key " * 2000)]}
    made = start(works.house, [*map(private, range(20)), long])
    assert works.worker.work_once()
    texts = [turn.content for row in rows(works.house, made, "train") for turn in row.completion or ()]
    assert all("[EMAIL_1]" in text and "@" not in text for text in texts)
    with works.house.database.read() as session:
        sheet = session.get_one(DatasetVersion, run_of(works.house, made).dataset_version_id).datasheet
    assert sheet["identifiers_replaced"] == {"email": 20}
    assert [out["reason"] for out in sheet["dropped"]] == ["longer than 2048 tokens"]


def test_jobs_are_listed_by_their_metadata(house: House) -> None:
    ours = start(house, map(taught, range(20)), metadata={"team": "keys", "try": "1"})
    start(house, map(taught, range(20)), metadata={"team": "locks"})
    with house.database.read() as session:
        for asked, found in (({"team": "keys"}, [ours.id]), ({"team": "keys", "try": "2"}, [])):
            listed, more = jobs.list_jobs(session, house.caller, metadata=asked, after=None, limit=5)
            assert ([one.id for one in listed], more) == (found, False)


def test_a_file_in_use_stays(house: House) -> None:
    made = start(house, map(taught, range(20)))
    with pytest.raises(Conflict, match=made.public_id):
        uploads.delete(house.database, house.settings, house.caller, made.training_file)
    with house.database.write() as session:
        jobs.cancel(session, house.caller, made.public_id)
    assert uploads.delete(house.database, house.settings, house.caller, made.training_file) == [], "no run had begun"


def test_what_a_person_erases_stops_no_job(works: Works) -> None:
    """The run is freezing its file at that moment: a run on feedback would be cancelled."""
    house = works.house
    made = start(house, map(taught, range(20)))
    held = runs.claim(house.database, "a worker", 60)
    assert held is not None
    with house.database.read() as session:
        said = session.exec(select(Feedback.id).limit(1)).one()
    _, done = erase(house.database, house.reload(), Subject(ErasureKind.FEEDBACK, "it", feedback=[said]), actor="test")
    assert done.cancelled == []
    assert run_of(house, made).status == RunStatus.RUNNING


def test_the_same_file_gives_the_same_dataset(works: Works) -> None:
    first = start(works.house, map(taught, range(20)))
    assert works.worker.work_once()
    asked = JobCreate(model=works.house.name, training_file=first.training_file)
    with works.house.database.write() as session:
        made = jobs.create(session, works.house.caller, works.house.reload(), asked)
    jobs.advance(works.house.database, works.house.settings)
    assert works.worker.work_once()
    assert spec(works.house, first).dataset_sha256 == spec(works.house, job(works.house, made.public_id)).dataset_sha256


def test_a_file_that_changed_on_the_disk_is_not_learned(works: Works) -> None:
    made = start(works.house, map(taught, range(20)))
    (works.house.settings.files / made.training_file).write_bytes(jsonl(map(taught, range(21))))
    assert works.worker.work_once()
    run = run_of(works.house, made)
    assert (run.status, "isn't what was uploaded" in str(run.error)) == (RunStatus.FAILED, True)


def test_a_deleted_file_takes_its_rows_out_of_the_runs_folder_and_leaves_the_version(house: House) -> None:
    works = Works(house)
    made = start(house, map(taught, range(40)))
    assert works.worker.work_once()
    run, version = run_of(house, made), works.version(str(made.run_id))
    listed = list(read_list(house.settings.runs / run.id))
    erasures = uploads.delete(house.database, house.settings, house.caller, made.training_file)
    assert len(erasures) == 1
    assert not (house.settings.files / made.training_file).exists()
    assert finish.clean_files(house.database, house.settings)
    folder = house.settings.runs / run.id
    assert list(find_rows(folder, {row.side: [row.id] for row in listed})) == []
    everything = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"amber" not in everything
    with house.database.read() as session:
        erasure = session.exec(select(Erasure).where(Erasure.public_id == erasures[0])).one()
        assert (erasure.state, erasure.counts) == (ErasureState.FILES_GONE, {"dataset_rows": 40})
        assert session.get_one(AdapterVersion, version.id).tainted_at is None
        found = verify(session, house.settings.runs, session.get_one(DatasetVersion, run.dataset_version_id))
        assert (found.rows, found.erased, found.to_erase) == (0, 40, 0)
        assert jobs.state_of(session, job(house, made.public_id)).model == f"{house.name}@1"
    assert json.loads((folder / datasets.DATASHEET).read_text())["rows"]["train"]["sft"] > 0
