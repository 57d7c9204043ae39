"""`/v1/fine_tuning/jobs` with the unmodified OpenAI client, up to the queue; whoever trains comes elsewhere."""

import time
from typing import Any

import openai
import pytest
from burnish_server import Deployment
from sqlmodel import select
from training_files import jsonl, preferred, refused, said, taught, upload

from feedback import files, runs
from feedback.fine_tuning import jobs
from feedback.fine_tuning.models import FineTuningJob
from feedback.models import Run
from feedback.run_folder import attempt_folder
from feedback.states import Role, RunStatus


@pytest.fixture(scope="module")
def client(server: Deployment) -> openai.OpenAI:
    return server.openai()


@pytest.fixture(scope="module")
def training(client: openai.OpenAI) -> str:
    return str(upload(client).id)


def start(client: openai.OpenAI, training: str, **more: Any) -> Any:
    return client.fine_tuning.jobs.create(**{"model": "base", "training_file": training, **more})


def advance(server: Deployment, client: openai.OpenAI, job_id: str) -> Any:
    jobs.advance(server.database, server.settings)
    return client.fine_tuning.jobs.retrieve(job_id)


def run_of(server: Deployment, job_id: str) -> Run:
    with server.database.read() as session:
        job = session.exec(select(FineTuningJob).where(FineTuningJob.public_id == job_id)).one()
        assert job.run_id is not None
        return runs.get_run(session, job.run_id)


def test_a_job_is_shown_in_openais_words(client: openai.OpenAI, training: str) -> None:
    job = start(client, training, suffix="shown", metadata={"team": "keys"}, seed=3)
    auto = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}
    assert job.object == "fine_tuning.job"
    assert (job.model, job.training_file, job.seed, job.metadata) == ("base", training, 3, {"team": "keys"})
    assert job.hyperparameters.model_dump(exclude_unset=True) == auto
    assert job.method.supervised.hyperparameters.model_dump(exclude_unset=True) == auto
    assert (job.result_files, job.trained_tokens, job.finished_at, job.error) == ([], None, None, None)
    assert client.fine_tuning.jobs.retrieve(job.id) == job
    older = start(client, training, hyperparameters={"n_epochs": 2})
    assert older.hyperparameters.n_epochs == 2
    found = list(client.fine_tuning.jobs.list(limit=1, metadata={"team": "keys"}))
    assert [one.id for one in found] == [job.id]
    assert [one.id for one in client.fine_tuning.jobs.list(limit=2).data] == [older.id, job.id]
    for one in (job, older):
        assert client.fine_tuning.jobs.cancel(one.id).status == "cancelled"
    refused(400, lambda: client.fine_tuning.jobs.cancel(job.id), "ended already")
    refused(400, lambda: client.fine_tuning.jobs.pause(job.id), "can't be paused")


@pytest.mark.parametrize(
    ("asked", "param", "words"),
    [
        ({"model": "nobody"}, "model", "nobody"),
        ({"model": "support@0"}, "model", "version"),
        ({"training_file": "file-nobody"}, "training_file", "file-nobody"),
        ({"validation_file": "file-nobody"}, "validation_file", "file-nobody"),
        ({"method": {"type": "reinforcement"}}, "method.type", "supervised and dpo"),
        ({"method": {"type": "dpo", "supervised": {}}}, "method.supervised", "dpo"),
        ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters", ""),
        ({"hyperparameters": {"beta": 0.1}}, "hyperparameters.beta", "dpo"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "x"}}]}, "integrations", "result file"),
        ({"metadata": {"key": "x" * 513}}, "metadata", ""),
        ({"seed": 2**31}, "seed", ""),
    ],
)
def test_what_cant_be_done_is_refused(
    client: openai.OpenAI, training: str, asked: dict[str, Any], param: str, words: str
) -> None:
    body = refused(404 if "nobody" in words else 400, lambda: start(client, training, **asked), words)
    assert str(body["param"]).startswith(param)


def test_a_bad_file_fails_the_job_and_says_where_and_why(server: Deployment, client: openai.OpenAI) -> None:
    ask = said("user", "where ?")
    lines = [
        taught(1),
        '{"messages": [',
        {"text": "hello"},
        {"messages": [ask]},
        {"messages": [ask, said("robot", "here")]},
        {"messages": [ask, said("assistant", "  ")]},
        {"messages": [ask, said("assistant", None, tool_calls=[{"id": "1"}])]},
        {"messages": [ask, said("tool", "42"), said("assistant", "it is 42")]},
        {"messages": [said("user", [{"type": "image_url", "image_url": {"url": "x"}}]), said("assistant", "a cat")]},
        {"messages": [ask, said("assistant", "there", weight=0)]},
        {"messages": [said("assistant", "hello")]},
        preferred(1),
        {**taught(2), "tools": [{"type": "function"}]},
    ]
    file = upload(client, "bad.jsonl", jsonl(lines))
    job = advance(server, client, start(client, file.id).id)
    assert (job.status, job.error.code, job.error.param) == ("failed", "invalid_training_file", "training_file")
    assert job.finished_at is not None
    assert "12 of 13 lines can't be learned from" in job.error.message
    reasons = dict(part.strip(" .").split(": ", 1) for part in job.error.message.split("from: ")[1].split(";"))
    expected = ["isn't", "messages", "end with", "robot", "message 2", "tool call", "tool", "text", "weight"]
    expected += ["nobody asked", "method dpo", "tools"]
    assert list(reasons) == [f"line {number}" for number in range(2, 14)]
    assert [(why, word) for why, word in zip(reasons.values(), expected, strict=True) if word not in why] == []
    assert client.fine_tuning.jobs.list_events(job.id).data[0].level == "error"
    assert client.files.delete(file.id).deleted, "nothing needs it any more"


@pytest.mark.parametrize(
    ("content", "method", "words"),
    [
        (jsonl(map(taught, range(9))), "supervised", "It has 9 examples, and at least 10 are needed."),
        (jsonl(map(taught, range(10))), "dpo", "it has no `input`: it is an example for the method supervised"),
        (jsonl([{**preferred(n), "preferred_output": []} for n in range(10)]), "dpo", "`preferred_output`"),
        (
            jsonl({k: v for k, v in preferred(n).items() if k != "preferred_output"} for n in range(10)),
            "dpo",
            "no `pref",
        ),
        (
            jsonl({**preferred(n), "non_preferred_output": preferred(n)["preferred_output"]} for n in range(10)),
            "dpo",
            "same",
        ),
        (jsonl(["{}"] * 30), "supervised", "; and 10 more"),
        (b"\x1f\x8b compressed", "supervised", "compressed"),
        (b"\xff\xfe", "supervised", "UTF-8"),
    ],
)
def test_files_that_teach_nothing(
    server: Deployment, client: openai.OpenAI, content: bytes, method: str, words: str
) -> None:
    job = start(client, upload(client, content=content).id, method={"type": method})
    error = advance(server, client, job.id).error
    assert words in error.message, error.message
    assert error.code == "invalid_training_file"


def test_a_bad_validation_file_is_told_from_the_other(server: Deployment, client: openai.OpenAI, training: str) -> None:
    checking = upload(client, content=jsonl([{"messages": []}])).id
    error = advance(server, client, start(client, training, validation_file=checking).id).error
    assert (error.code, error.param) == ("invalid_validation_file", "validation_file")
    refused(400, lambda: start(client, training, validation_file=training), "training file")


def test_jobs_of_one_assistant_take_turns(server: Deployment, client: openai.OpenAI, training: str) -> None:
    first, second = (start(client, training, model="garden", seed=seed).id for seed in (11, 12))
    assert [advance(server, client, one).status for one in (first, second)] == ["queued", "queued"]
    run = run_of(server, first)
    assert (run.seed, run.requested_by[:4], first in run.reason) == (11, "key:", True)
    refused(400, lambda: client.files.delete(training), first, second, "cancel")
    assert client.fine_tuning.jobs.cancel(first).status == "cancelled"
    assert run_of(server, first).status == RunStatus.CANCELLED
    advance(server, client, second)
    assert run_of(server, second).seed == 12
    with server.database.write() as session:
        runs.cancel(session, run_of(server, second).id, actor="test")
    assert client.fine_tuning.jobs.retrieve(second).status == "cancelled", "a cancelled run is a cancelled job"


def test_a_running_jobs_estimated_finish_is_its_runs(server: Deployment, client: openai.OpenAI, training: str) -> None:
    job = start(client, training, model="support")
    assert job.estimated_finish is None
    assert advance(server, client, job.id).estimated_finish is None, "queued"
    held = runs.claim(server.database, "a worker", 60)
    assert held is not None
    assert held.run_id == run_of(server, job.id).id
    assert client.fine_tuning.jobs.retrieve(job.id).estimated_finish is None, "the pace isn't known yet"
    attempt = attempt_folder(server.settings.runs / held.run_id, held.attempt)
    began = time.time()
    metrics = {"stage": "sft", "step": 5, "total_steps": 20, "eta_seconds": 90.0, "written_at": began - 10}
    files.write_json(attempt / "metrics.json", metrics)
    for told in (client.fine_tuning.jobs.retrieve(job.id), client.fine_tuning.jobs.list(limit=1).data[0]):
        assert (told.id, told.status) == (job.id, "running")
        assert told.estimated_finish == pytest.approx(began + 80, abs=2)
    assert client.fine_tuning.jobs.cancel(job.id).estimated_finish is None
    assert client.fine_tuning.jobs.retrieve(job.id).estimated_finish is None


def test_a_narrow_keys_job_makes_an_assistant_that_it_sees(server: Deployment, client: openai.OpenAI) -> None:
    narrow = server.openai(server.make_key(Role.OPERATOR, "base"))
    other = server.openai(server.make_key(Role.OPERATOR, "base"))
    made = [start(narrow, upload(narrow).id, suffix="Narrow: keys").id for _ in range(2)]
    for job_id in made:
        advance(server, narrow, job_id)
    names = {one["name"] for one in server.http.get("/v1/assistants").json()}
    assert {"narrow-keys", "narrow-keys-2"} <= names
    headers = {"authorization": f"Bearer {narrow.api_key}"}
    seen = server.anyone.get("/v1/assistants", headers=headers).json()
    assert {one["name"] for one in seen} == {"base", "narrow-keys", "narrow-keys-2"}
    refused(404, lambda: other.fine_tuning.jobs.retrieve(made[0]))
    refused(404, lambda: other.fine_tuning.jobs.cancel(made[0]))
    assert other.fine_tuning.jobs.list().data == []
    refused(404, lambda: start(narrow, upload(client).id), "file")
    for job_id in made:
        narrow.fine_tuning.jobs.cancel(job_id)
