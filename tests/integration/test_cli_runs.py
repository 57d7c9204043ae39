"""`burnish train` and `burnish status`: runs queued, moved, retried and watched, by people, pipes and programs."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from burnish_server import Deployment, deployment
from rich.console import Console
from said import Said, assert_one_clear_line, say

from feedback import files, runs, workers
from feedback.cli import watching
from feedback.run_folder import attempt_folder
from feedback.runs import Claim

Run = Callable[..., Said]


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("closed")) as made:
        yield made


@pytest.fixture
def run(closed: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setattr(watching, "SECONDS_BETWEEN_LOOKS", 0.02)

    def run(*arguments: str, **settings: str) -> Said:
        return say(*arguments, environment={**closed.environment, **settings}, monkeypatch=monkeypatch, capsys=capsys)

    return run


def note(closed: Deployment, held: Claim, step: int, loss: float) -> None:
    metrics: dict[str, Any] = {"stage": "sft", "step": step, "total_steps": 20, "loss_history": [{"loss": loss}]}
    metrics |= {"eta_seconds": 75.0, "written_at": time.time()}
    files.write_json(attempt_folder(closed.settings.runs / held.run_id, held.attempt) / "metrics.json", metrics)


class Training(threading.Thread):
    """Claims what is queued, notes two steps and fails for good; goes on when each of `awaited` was told in turn."""

    def __init__(self, closed: Deployment, told: Callable[[], str], awaited: tuple[str, str, str]) -> None:
        super().__init__()
        self.closed, self.told, self.awaited = closed, told, awaited
        workers.show(closed.database, "w")
        self.start()

    def run(self) -> None:
        queued, *steps = self.awaited
        self.wait_for(queued)
        held = runs.claim(self.closed.database, "w", 60)
        assert held is not None
        for step, (awaited, loss) in enumerate(zip(steps, (2.5, 1.25), strict=True), start=1):
            note(self.closed, held, step, loss)
            self.wait_for(awaited)
        runs.fail_attempt(self.closed.database, held, "a broken disk", final=True)
        workers.leave(self.closed.database, "w")

    def wait_for(self, words: str) -> None:
        until = time.monotonic() + 60
        while words not in self.told() and time.monotonic() < until:
            time.sleep(0.02)


def printed() -> str:
    """What pytest caught of the standard output so far."""
    return sys.stdout.getvalue()


def test_a_program_that_waits_gets_a_line_for_every_change(run: Run, closed: Deployment) -> None:
    training = Training(closed, printed, ('"queued"', '"step": 1', '"step": 2'))
    waited = run("train", "support", "--wait", "--json")
    training.join()
    assert waited.status == 1
    told = [json.loads(line) for line in waited.out.splitlines()]
    assert [one["status"] for one in told] == sorted((one["status"] for one in told), key=list(ORDER).index)
    assert {one["status"] for one in told} == set(ORDER)
    assert [one["progress"]["step"] for one in told if one["status"] == "running" and one["progress"]] == [1, 2]
    assert told[-1]["error"] == "a broken disk"


ORDER = ("queued", "running", "failed")


def test_a_pipe_gets_sparse_lines_and_the_whole_at_the_end(run: Run, closed: Deployment) -> None:
    training = Training(closed, printed, ("queued", "step 1/", "step 1/"))
    waited = run("train", "support", "--wait")
    training.join()
    lines = [line for line in waited.out.splitlines() if line.startswith("run-")]
    assert sum("sft, step" in line for line in lines) == 1, "one a stage"
    assert "sft, step 1/20, loss 2.500, done in 1:1" in waited.out
    assert lines[-1].endswith(": failed: a broken disk")
    assert "\x1b" not in waited.out


def test_a_terminal_gets_one_line_that_moves(run: Run, closed: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = StringIO()
    monkeypatch.setattr(watching, "console", Console(file=screen, force_terminal=True, width=150))
    queued = run("train", "support", "--json").value
    training = Training(closed, screen.getvalue, ("queued, waits", "step 1/", "step 2/"))
    assert run("status", queued["run"], "--watch").status == 1
    training.join()
    assert "queued, waits for a worker" in screen.getvalue()
    assert "running, sft, step 2/20, loss 1.250, done in 1:1" in screen.getvalue()
    assert screen.getvalue().count("\n") <= 2, "it overwrites itself"


def test_runs_are_moved_retried_and_say_what_they_wait_for(run: Run, closed: Deployment) -> None:
    queued = run("train", "support", "--priority", "3", "--json").value
    assert queued["priority"] == 3
    assert queued["waits_for"].startswith("a worker: none was seen lately")
    assert run("train", "support", "--set-priority", "-2", "--json").value["priority"] == -2
    assert_one_clear_line(run("train", "support", "--set-priority", "5000"), "-1000 to 1000")
    assert "waits for" in run("status", queued["run"]).out
    assert run("train", "support", "--cancel", "--json").value["training"] == "none on this machine"
    assert_one_clear_line(run("train", "base", "--retry", queued["run"]), "no run of 'base'")
    assert_one_clear_line(run("train", "support", "--retry", queued["run"], "--cancel"), "choose one")
    again = run("train", "support", "--retry", queued["run"], "--json").value
    assert (again["run"], again["status"]) == (queued["run"], "queued")
    listed = run("status", "--json").value
    (mine,) = [one for one in listed["runs"] if one["run"] == queued["run"]]
    assert mine["waits_for"].startswith("a worker: none")
    awaited = {one["assistant"]: one["next_run"] for one in listed["serving"]}
    assert awaited == {"base": None, "support": f"{queued['run']} is open"}
    run("train", "support", "--cancel")


def test_a_run_searches_where_it_is_told_to(run: Run) -> None:
    queued = run("train", "support", "--search", "8", "--json").value
    assert queued["search_trials"] == 8
    assert run("status", queued["run"], "--json").value["search_trials"] == 8
    refused = run("train", "support", "--cancel", "--search", "8")
    assert_one_clear_line(refused, "--search and --base-model are for a run that begins")
    run("train", "support", "--cancel")
    assert_one_clear_line(run("train", "support", "--search", "65"), "from 0 to 64 trials")


def test_a_schedule_is_checked_where_it_is_set(run: Run) -> None:
    assert_one_clear_line(run("assistant", "set", "support", "training.schedule=every night"), "no cron expression")
    assert run("assistant", "set", "support", "training.schedule=30 3 * * *").status == 0
    (mine,) = [one for one in run("status", "--json").value["serving"] if one["assistant"] == "support"]
    assert mine["next_run"].startswith("0 of 300 new corrections and choices")
    assert " 03:30 UTC" in mine["next_run"]
    assert run("assistant", "set", "support", "training.schedule=null").status == 0
