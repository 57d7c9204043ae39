"""`burnish suite` and the trial commands: what an operator types, and what comes back."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from burnish_server import Deployment, deployment
from said import Said, assert_one_clear_line, say

Run = Callable[..., Said]
GOLDEN = {"messages": [{"role": "user", "content": "How long is the warranty?"}], "must": ["two years"]}


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("closed")) as made:
        yield made


@pytest.fixture
def run(closed: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> Said:
        return say(*arguments, environment=closed.environment, monkeypatch=monkeypatch, capsys=capsys)

    return run


def test_a_suite_is_added_listed_and_removed(run: Run, tmp_path: Path) -> None:
    assert run("suite", "list", "support").out.startswith("None but Burnish's own.")
    file = tmp_path / "Returns.v1.jsonl"
    file.write_text(json.dumps(GOLDEN) + "\n")
    added = run("suite", "add", "support", str(file), "--licence", "CC0-1.0", "--json").value
    assert (added["suite"], added["kind"], added["items"], added["licence"]) == ("returns", "golden", 1, "CC0-1.0")
    assert [one["suite"] for one in run("suite", "list", "support", "--json").value] == ["returns"]
    assert run("suite", "remove", "support", "returns", "--json").value == {"removed": "returns"}
    assert_one_clear_line(
        run("suite", "remove", "support", "returns"), "no suite 'returns'", "burnish suite list support"
    )


def test_what_is_no_suite_is_refused_in_one_line(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(json.dumps(GOLDEN) + '\n{"messages": [], "must": ["x"]}\n')
    assert_one_clear_line(run("suite", "add", "support", str(file)), "line 2", "messages")
    assert_one_clear_line(run("suite", "add", "support", str(tmp_path / "none.jsonl")), "none.jsonl")


def test_a_trial_is_begun_looked_at_and_vetoed(run: Run, closed: Deployment) -> None:
    assert run("adapters", "trial", "support", "--json").value == {"trial": None}
    closed.publish_version()
    assert run("assistant", "set", "support", "release.canary_percents=[10, 50]").status == 0
    assert run("adapters", "promote", "support@1", "--json").value == {
        "version": "support@1", "state": "canary", "percent": 10,
    }  # fmt: skip
    trial = run("adapters", "trial", "support", "--json").value
    assert (trial["version"], trial["beside"], trial["next"]) == ("support@1", "support@0", "stay")
    assert "of 86400 seconds at 10 %" in trial["why"]
    vetoed = run("adapters", "veto", "support@1", "--reason", "It lies.", "--json").value
    assert vetoed == {"version": "support@1", "state": "vetoed"}
    assert_one_clear_line(run("adapters", "veto", "support@1"), "neither proposed nor on trial")


def test_shares_that_shrink_are_refused(run: Run) -> None:
    assert_one_clear_line(run("assistant", "set", "support", "release.canary_percents=[50, 10]"), "must grow")
