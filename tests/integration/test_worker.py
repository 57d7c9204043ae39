"""The worker from claim to release, on real databases and folders, with a training process that only pretends."""

import errno
import os
import re
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from burnish_server import eventually
from pretended_training import ENDLESS, KILLED, Works
from structlog.testing import capture_logs

from feedback import adapters, files, releases, runs
from feedback.columns import now
from feedback.curate import pipeline
from feedback.errors import InvalidInput
from feedback.models import AdapterVersion, Release
from feedback.run_folder import attempt_folder
from feedback.states import ReleaseState, RunStatus
from feedback.suites import registry
from feedback.testing import House
from trainer.worker import Worker

# ── from a verdict to a release ──────────────────────────────────────────────────────────────────────────────


def test_what_is_judged_better_is_proposed_or_goes_live(house: House) -> None:
    works = Works(house)
    assert works.judged_against(works.learn()) == 0
    assert (works.live(), works.proposed()) == (0, [1])
    works.policy(release={"promotion": "auto"})
    works.learn()
    assert (works.live(), works.proposed()) == (2, [])


def test_a_run_may_search_though_its_assistant_does_not_and_the_reverse(works: Works) -> None:
    def trials(**how: Any) -> Any:
        run_id = works.request(**how)
        assert works.worker.work_once()
        return files.read_json(works.house.settings.runs / run_id / "run.json")["hyperparameters"]["search_trials"]

    assert [trials(search_trials=3), trials()] == [3, 0]
    works.policy(hyperparameters={"search_trials": 5})
    assert [trials(search_trials=0), trials()] == [0, 5]


def test_what_is_judged_better_while_another_is_on_trial_or_releases_are_frozen_waits(works: Works) -> None:
    works.policy(release={"promotion": "auto", "canary_percents": [10]})
    works.learn()
    with works.house.database.read() as session:
        trial = releases.on_trial(session, works.house.assistant)
    assert trial is not None
    assert trial.state == ReleaseState.CANARY
    works.learn()
    assert (works.live(), works.proposed()) == (0, [2])
    works.roll_back()
    works.policy(release={"promotion": "auto", "frozen": True})
    works.learn()
    assert (works.live(), works.proposed()) == (0, [3])


def test_a_move_to_another_base_model_waits_for_an_operator_and_goes_back_as_it_came(works: Works) -> None:
    old = works.house.assistant.base_model
    works.policy(release={"promotion": "auto", "canary_percents": [10]}, hyperparameters={"warm_start": True})
    run_id = works.request(base_model="a-newer-base")
    assert works.worker.work_once()
    moved = works.version(run_id)
    spec = spec_of(works, moved)
    asked = ("base_model", "baseline_base_model", "purpose", "start_version")
    assert [spec[name] for name in asked] == ["a-newer-base", old, "replace", "base"]
    assert (moved.base_model, works.live(), works.proposed()) == ("a-newer-base", 0, [1])
    with works.house.database.write() as session, pytest.raises(InvalidInput, match="can't be tried beside"):
        releases.promote(session, works.house.reload(), moved, actor="test", reason="a test")
    with works.house.database.write() as session:
        releases.promote(session, works.house.reload(), moved, actor="test", reason="a test", at_once=True)
    assert (works.live(), works.house.reload().base_model) == (1, "a-newer-base")
    works.policy(release={"promotion": "manual"})
    assert works.learn().base_model == "a-newer-base"
    works.roll_back()
    assert (works.live(), works.house.reload().base_model) == (0, old)


def test_a_run_that_its_assistant_left_behind_for_another_base_fails(works: Works) -> None:
    moved = works.learn()
    with works.house.database.write() as session:
        session.get_one(AdapterVersion, moved.id).base_model = "a-newer-base"
    works.launcher.meanwhile = lambda: works.live() == 1 or works.promote(moved)
    run_id = works.request()
    assert works.worker.work_once()
    assert "moved to a-newer-base meanwhile" in str(works.run(run_id).error)


def spec_of(works: Works, version: AdapterVersion) -> dict[str, Any]:
    found: dict[str, Any] = files.read_json(works.house.settings.runs / str(version.run_id) / "run.json")
    return found


def test_each_candidate_held_against_one_baseline_is_another_try(works: Works) -> None:
    first, second = works.learn(), works.learn()
    assert [spec_of(works, one)["tries"] for one in (first, second)] == [1, 2]
    works.promote(second)
    assert spec_of(works, works.learn())["tries"] == 1
    works.launcher.meanwhile = lambda: works.live() == 0 or works.roll_back()
    third = works.learn()
    assert works.judged_against(third) == 0
    assert spec_of(works, third)["tries"] == 3, "the third that was held against the base"


def test_a_run_freezes_what_guards_ask_and_plants_strings_of_its_own(works: Works) -> None:
    with works.house.database.write() as session:
        golden = b'{"messages": [{"role": "user", "content": "How long?"}], "must": ["two years"]}\n'
        registry.add(session, works.house.reload(), "returns", golden, actor="test")
    folders = [works.house.settings.runs / str(works.learn().run_id) for _ in range(2)]
    frozen = {path.name for path in (folders[0] / "suites").iterdir()}
    own = {f"{kind}.own.jsonl" for kind in ("sycophancy", "refusals", "toxicity", "bias", "instructions", "prompts")}
    assert frozen == own | {"general.txt", "golden.returns.jsonl", "canaries.run.jsonl"}
    spec = files.read_json(folders[0] / "run.json")
    assert spec["guidelines"]["system_prompt"] == "Answer briefly."
    assert {f"suites/{name}" for name in frozen} <= spec["files"].keys()
    canaries = [(folder / "suites" / "canaries.run.jsonl").read_bytes() for folder in folders]
    assert canaries[0] != canaries[1]


def test_a_candidate_is_judged_again_when_something_else_went_live(works: Works) -> None:
    first = works.learn()
    works.launcher.started.clear()
    works.launcher.meanwhile = lambda: works.live() == 1 or works.promote(first)
    second = works.learn()
    assert works.launcher.started == [("run", 1), ("evaluate", 1)]
    assert works.judged_against(second) == 1
    folder = works.house.settings.runs / str(second.run_id)
    assert files.folder_sha256(folder / "baseline", adapters.CONTENT) == first.sha256


@pytest.mark.parametrize(
    "database_url", [pytest.param("postgresql", marks=pytest.mark.postgresql)], indirect=True
)  # SQLite has one writer at a time
def test_a_release_that_goes_live_at_the_last_moment_sends_the_candidate_round_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = Works(house)
    first = works.learn()
    works.policy(release={"promotion": "auto"})
    promote = releases.promote

    def too_late(*arguments: Any, **more: Any) -> Release:
        monkeypatch.undo()
        works.promote(first)
        return promote(*arguments, **more)

    monkeypatch.setattr(releases, "promote", too_late)
    second = works.learn()
    assert works.run(str(second.run_id)).attempt == 1
    assert works.launcher.started[-2:] == [("run", 1), ("evaluate", 1)]
    assert works.judged_against(second) == 1
    assert works.live() == second.number == 2


# ── freezing ─────────────────────────────────────────────────────────────────────────────────────────────────


def before_curating(monkeypatch: pytest.MonkeyPatch, deed: Callable[[], object]) -> None:
    """Have the worker, in the middle of its freeze, do something first."""
    curate = pipeline.curate

    def first(*arguments: Any, **settings: Any) -> Any:
        deed()
        return curate(*arguments, **settings)

    monkeypatch.setattr(pipeline, "curate", first)


def test_a_long_freeze_keeps_the_lease(embedded: House, monkeypatch: pytest.MonkeyPatch) -> None:
    works = Works(embedded, lease_seconds=2)
    claimed = []

    def take_long() -> None:
        for _ in range(20):
            time.sleep(0.2)
            claimed.append(runs.claim(embedded.database, "another", 60))

    before_curating(monkeypatch, take_long)
    works.learn()
    assert claimed == [None] * 20


def test_a_freeze_holds_no_snapshot_while_it_curates(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Path(works.house.database.url.removeprefix("sqlite:///") + "-wal")
    looked = []

    def look() -> None:
        looked.append(log.stat().st_size > 0)
        works.house.database.checkpoint(last=True)
        assert log.stat().st_size == 0, "a reader kept the log from being folded back"

    before_curating(monkeypatch, look)
    works.learn()
    assert looked == [True]


def stall(works: Works, run_id: str, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]) -> None:
    """Have the worker, in the middle of its freeze, sleep until its lease has run out."""

    def sleep() -> None:
        monkeypatch.undo()
        with works.house.database.write() as session:
            runs.get_run(session, run_id).lease_expires_at = now()
        meanwhile()

    before_curating(monkeypatch, sleep)


def test_a_worker_that_was_taken_over_while_it_froze_leaves_the_others_folder(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = works.request()
    theirs = works.house.settings.runs / run_id / "theirs"

    def take_over() -> None:
        assert runs.claim(works.house.database, "another", 60)
        files.write_bytes(theirs, b"frozen, about to be trained in")

    stall(works, run_id, monkeypatch, take_over)
    assert works.worker.work_once()
    assert theirs.exists()
    assert works.launcher.started == []
    left = works.run(run_id)
    assert (left.status, left.worker, left.error) == (RunStatus.RUNNING, "another", None)


def test_a_worker_that_was_taken_over_while_it_froze_replaces_no_training(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = works.request()
    another = Worker(works.house.settings, works.house.database, works.launcher)
    stall(works, run_id, monkeypatch, another.work_once)
    assert works.worker.work_once()
    assert works.launcher.started == [("run", 2)]
    assert (works.house.settings.runs / run_id / "attempt-2" / "adapter").exists()
    assert works.run(run_id).status == RunStatus.SUCCEEDED


# ── kills ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_next_attempt_goes_on_from_what_a_killed_one_left(works: Works) -> None:
    run_id = works.request()
    folder = works.house.settings.runs / run_id

    def leave_a_checkpoint() -> None:
        (attempt_folder(folder, 1) / "checkpoint").write_text("half way")

    def torn_by_an_earlier_kill() -> None:
        leave_a_checkpoint()
        (attempt_folder(folder, 2) / "checkpoints").mkdir(parents=True)

    works.launcher.command, works.launcher.meanwhile = KILLED, torn_by_an_earlier_kill
    assert works.worker.work_once()
    waiting = works.run(run_id)
    assert (waiting.status, waiting.attempt) == (RunStatus.QUEUED, 2)
    assert waiting.error == "The training process was killed by SIGKILL."
    assert not attempt_folder(folder, 1).exists()
    assert [path.name for path in attempt_folder(folder, 2).iterdir()] == ["checkpoint"]

    with works.house.database.write() as session:
        runs.get_run(session, run_id).not_before = now()
    works.launcher.command, works.launcher.meanwhile = "true", lambda: None
    assert works.worker.work_once()
    assert works.launcher.started == [("run", 1), ("run", 2)]
    assert works.run(run_id).status == RunStatus.SUCCEEDED


def left_for_the_next_attempt(works: Works, run_id: str) -> None:
    """The folder, which the test has marked, with a whole adapter; with it the next attempt ends well."""
    waiting = works.run(run_id)
    assert (waiting.status, waiting.attempt) == (RunStatus.QUEUED, 2)
    with works.house.database.write() as session:
        runs.get_run(session, run_id).not_before = now()
    works.launcher.command = "true"
    assert works.worker.work_once()
    assert works.run(run_id).status == RunStatus.SUCCEEDED
    folder = works.house.settings.runs / run_id
    assert not attempt_folder(folder, 1).exists()
    assert (attempt_folder(folder, 2) / "mark").exists()


def mark(works: Works, run_id: str) -> Callable[[], object]:
    return lambda: (attempt_folder(works.house.settings.runs / run_id, works.run(run_id).attempt) / "mark").touch()


def test_an_attempt_that_fails_in_judging_leaves_its_adapter_to_the_next(works: Works) -> None:
    run_id = works.request()
    works.launcher.command, works.launcher.meanwhile = "exit 1", mark(works, run_id)
    assert works.worker.work_once()
    works.launcher.meanwhile = lambda: None
    left_for_the_next_attempt(works, run_id)


def test_an_adapter_that_is_not_whole_is_trained_anew(works: Works) -> None:
    run_id = works.request()
    folder = works.house.settings.runs / run_id
    works.launcher.meanwhile = lambda: (attempt_folder(folder, 1) / "adapter" / adapters.CONTENT[1]).unlink()
    assert works.worker.work_once()
    assert (works.run(run_id).status, works.run(run_id).attempt) == (RunStatus.QUEUED, 2)
    assert "missing" in str(works.run(run_id).error)
    assert attempt_folder(folder, 1).exists()
    assert not attempt_folder(folder, 2).exists()


def test_an_adapter_that_cannot_be_published_is_left_to_the_next_attempt(works: Works) -> None:
    run_id = works.request()
    works.launcher.meanwhile = mark(works, run_id)
    in_the_way = works.house.settings.adapters
    files.write_bytes(in_the_way, b"a file where a folder should be")
    assert works.worker.work_once()
    assert str(works.run(run_id).error).startswith("Unexpected: ")
    in_the_way.unlink()
    works.launcher.meanwhile = lambda: None
    left_for_the_next_attempt(works, run_id)


def test_a_disk_that_is_full_for_the_worker_is_told_as_such(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_no_room(*_: Any) -> str:
        monkeypatch.undo()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(works.house.settings.adapters / "new" / "weights"))

    run_id = works.request()
    works.launcher.meanwhile = mark(works, run_id)
    monkeypatch.setattr(adapters, "publish", find_no_room)
    assert works.worker.work_once()
    told = re.match(r"The disk is full: (\S+) couldn't be written, \d+ MiB are free", str(works.run(run_id).error))
    assert told
    assert told[1] == str(works.house.settings.adapters / "new" / "weights")
    works.launcher.meanwhile = lambda: None
    left_for_the_next_attempt(works, run_id)


def test_a_worker_that_dies_while_it_hands_over_loses_nothing(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = works.request()
    folder = works.house.settings.runs / run_id

    def die(*_: Any, **__: Any) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    works.launcher.command, works.launcher.meanwhile = KILLED, mark(works, run_id)
    monkeypatch.setattr(runs, "fail_attempt", die)
    with pytest.raises(KeyboardInterrupt):
        works.worker.work_once()
    assert (attempt_folder(folder, 2) / "mark").exists()
    with works.house.database.write() as session:
        runs.get_run(session, run_id).lease_expires_at = now()
    works.launcher.meanwhile = lambda: None
    assert works.worker.work_once()
    assert works.launcher.started == [("run", 1), ("run", 1)]
    left_for_the_next_attempt(works, run_id)


def test_a_cancelled_run_s_training_process_ends_at_once_and_the_run_can_go_on(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = works.request()
    started = []
    start = works.launcher.start
    monkeypatch.setattr(works.launcher, "start", lambda *task: started.append(start(*task)) or started[-1])
    works.launcher.command = ENDLESS
    working = threading.Thread(target=works.worker.work_once)
    with capture_logs() as logged:
        working.start()
        eventually(lambda: started, "the training process starts")
        (attempt_folder(works.house.settings.runs / run_id, 1) / "checkpoint").write_text("half way")
        with works.house.database.write() as session:
            runs.cancel(session, run_id, actor="test")
        at = time.monotonic()
        assert started[0].wait(5) != 0
        working.join(5)
    assert time.monotonic() - at < 4, "a quarter of the lease is 5 s"
    assert logged[-1]["event"] == "run cancelled, its training process is ended"
    with works.house.database.write() as session:
        runs.retry(session, run_id, actor="test")
    works.launcher.command = "true"
    assert works.worker.work_once()
    assert works.launcher.started == [("run", 1), ("run", 1)]
    assert (attempt_folder(works.house.settings.runs / run_id, 1) / "checkpoint").exists(), "it goes on from there"
    assert works.run(run_id).status == RunStatus.SUCCEEDED


def test_a_retried_run_whose_folder_is_gone_says_so_once(works: Works) -> None:
    run_id = works.request()
    works.launcher.meanwhile = lambda: shutil.rmtree(works.house.settings.runs / run_id)
    works.launcher.command = "exit 1"
    assert works.worker.work_once()
    with works.house.database.write() as session:
        runs.get_run(session, run_id).not_before = now()
    assert works.worker.work_once()
    failed = works.run(run_id)
    assert (failed.status, failed.attempt) == (RunStatus.FAILED, 2)
    assert str(failed.error).endswith("is gone: start a new run with `burnish train ASSISTANT`.")


# ── asking for runs ──────────────────────────────────────────────────────────────────────────────────────────


def test_an_idle_worker_asks_for_what_became_due(works: Works) -> None:
    assert not works.worker.work_once()
    works.policy(training={"min_new_feedback": 8, "min_seconds_between_runs": 0})
    assert works.worker.work_once()
    assert not works.worker.work_once()
