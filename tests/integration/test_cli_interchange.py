"""`burnish feedback import` and `export`, as a person at a terminal or a program has them."""

import json
import os
import random
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from burnish_server import BURNISH, Deployment, deployment
from real_data import real_data_or_skip
from sqlmodel import select

from feedback import assistants, runs
from feedback.models import AuditEntry
from feedback.states import Consent

GOOD = '{"messages": [{"role": "user", "content": "Question %d?"}, {"role": "assistant", "content": "Answer %d."}]}\n'


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("house")) as made:
        yield made


@pytest.fixture
def assistant(house: Deployment) -> str:
    """A fresh one for each test."""
    return house.make_assistant(f"a-{os.urandom(4).hex()}")


def lines(path: Path, *numbers: int) -> Path:
    path.write_text("".join(GOOD % (number, number) if number else "{broken\n" for number in numbers))
    return path


def test_the_good_lines_are_in_and_the_bad_ones_are_listed(house: Deployment, assistant: str, tmp_path: Path) -> None:
    path = lines(tmp_path / "answers.jsonl", 1, 0, 2, 3, 1, *[0] * 30)
    told = house.burnish("feedback", "import", assistant, str(path), "--bad", str(tmp_path / "bad.jsonl"))
    assert (told.returncode, told.stderr) == (3, "")
    assert "isn't JSON" in told.stdout
    assert "here already or repeated" in told.stdout.partition("\n")[0]
    assert "and 11 more" in told.stdout
    bad = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert [one["line"] for one in bad] == [2, *range(6, 36)]
    assert bad[0]["file"] == str(path)
    assert (tmp_path / "bad.jsonl").stat().st_mode & 0o777 == 0o600
    assert len(json.loads(house.burnish("feedback", "list", assistant, "--json").stdout)) == 3


def test_a_program_is_told_what_became_of_each_file(house: Deployment, assistant: str, tmp_path: Path) -> None:
    one, two = lines(tmp_path / "one.jsonl", 1, 2), lines(tmp_path / "two.jsonl", 2, 0, 3)

    def imported(*options: str) -> tuple[int, dict[str, Any]]:
        done = house.burnish("feedback", "import", assistant, str(one), str(two), "--json", *options)
        return done.returncode, json.loads(done.stdout)

    for options, counts in ((("--dry-run",), [(2, 0), (2, 0)]), ((), [(2, 0), (1, 1)]), ((), [(0, 2), (0, 2)])):
        status, told = imported(*options)
        assert status == 3
        assert told["dry_run"] is bool(options)
        assert [(file["taken"], file["known"]) for file in told["files"]] == counts
        assert [file["bad_lines"] for file in told["files"]] == [
            [],
            [{"line": 2, "reason": told["files"][1]["bad_lines"][0]["reason"]}],
        ]
        assert {file["format"] for file in told["files"]} == {"openai"}
    status, told = imported("--no-training")
    assert [file["known_otherwise"] for file in told["files"]] == [2, 2]


def test_a_files_licence_is_on_the_datasheet_also_if_it_is_said_later(
    house: Deployment, assistant: str, tmp_path: Path
) -> None:
    one, two = lines(tmp_path / "one.jsonl", *range(1, 9)), lines(tmp_path / "a|b.jsonl", *range(9, 17))
    assert house.burnish("feedback", "import", assistant, str(one), str(two)).returncode == 0
    house.burnish("feedback", "import", assistant, str(one), "--licence", "CC-BY-4.0")
    page = house.burnish("dataset", "preview", assistant).stdout
    assert re.search(r"\| import:one.jsonl \| 8 \| .* \| CC-BY-4.0 \|", page)
    assert re.search(r"\| import:a\\\|b.jsonl \| 8 \| .* \| not stated \|", page)
    refused = house.burnish("feedback", "import", assistant, str(one), "--licence", "two\nlines")
    assert (refused.returncode, "on one line" in refused.stderr) == (1, True)


def test_what_a_table_has_that_is_not_read_is_told_once(house: Deployment, assistant: str, tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_text("question,answer,[bold]notes\nHow tall?,330 metres.,\nHow wide?,125 metres.,x\n")
    told = house.burnish("feedback", "import", assistant, str(path), "--dry-run")
    assert told.returncode == 0
    assert told.stdout.count("answers.csv: the column `[bold]notes` isn't read.\n") == 1
    path.write_text("Spørgsmål,Svar\nHow tall?,330 metres.\n")
    (file,) = json.loads(house.burnish("feedback", "import", assistant, str(path), "--json").stdout)["files"]
    assert (file["taken"], len(file["remarks"])) == (2, 1)
    assert "`Spørgsmål` and `Svar`" in file["remarks"][0]


def test_an_import_that_makes_a_run_due_tells_which_and_why(house: Deployment, assistant: str, tmp_path: Path) -> None:
    house.burnish("assistant", "set", assistant, "training.min_new_feedback=2")
    path = lines(tmp_path / "answers.jsonl", 1, 2)

    def imported(*options: str) -> Any:
        return json.loads(house.burnish("feedback", "import", assistant, str(path), "--json", *options).stdout)["run"]

    assert imported("--dry-run") is None
    made = house.burnish("feedback", "import", assistant, str(path))
    (told,) = [line for line in made.stdout.splitlines() if "run-" in line]
    assert re.fullmatch(r"Run run-\S+ is queued: 2 new corrections and choices \(the policy asks for 2\)\.", told)
    assert imported() is None  # it was requested before
    with house.database.write() as session:
        (run,) = runs.list_runs(session, assistants.get_assistant(session, assistant))
        assert run.id in told
        runs.cancel(session, run.id, actor="test")
    house.burnish("assistant", "set", assistant, "training.min_seconds_between_runs=0")
    lines(path, 3, 4)
    after = imported()
    with house.database.read() as session:
        assert after == runs.list_runs(session, assistants.get_assistant(session, assistant))[0].id != run.id


def test_exit_statuses_tell_all_some_and_nothing_apart(house: Deployment, assistant: str, tmp_path: Path) -> None:
    def status(*numbers: int, format: str = "openai") -> int:
        path = lines(tmp_path / "a.jsonl", *numbers)
        return house.burnish("feedback", "import", assistant, str(path), "--format", format).returncode

    assert status(1, 2) == 0
    assert status(1, 0) == 3
    assert status(0, 0) == 1
    assert status(1, 2, format="hh-rlhf") == 1


def test_nothing_is_stored_if_one_of_the_files_can_not_be_imported(
    house: Deployment, assistant: str, tmp_path: Path
) -> None:
    good = lines(tmp_path / "good.jsonl", 1)
    (tmp_path / "prose.txt").write_text("Once upon a time.\n")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "folder").mkdir()
    for name, word in (
        ("prose.txt", "Once upon a time."),
        ("empty.jsonl", "is empty"),
        ("folder", "no rows"),
        ("no", "no file"),
    ):
        refused = house.burnish("feedback", "import", assistant, str(good), str(tmp_path / name))
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        assert refused.stderr.startswith("burnish: ")
        assert word in refused.stderr
    assert house.burnish("feedback", "import", "nobody", str(good)).returncode == 1
    assert json.loads(house.burnish("feedback", "list", assistant, "--json").stdout) == []


def test_what_is_exported_is_imported_into_another_deployment_and_audited(
    house: Deployment, assistant: str, tmp_path: Path
) -> None:
    house.burnish("feedback", "import", assistant, str(lines(tmp_path / "a.jsonl", *range(1, 6))))
    out = tmp_path / "out" / "said.jsonl"
    told = json.loads(house.burnish("feedback", "export", assistant, "--out", str(out), "--json").stdout)
    assert told == {"file": str(out), "format": "burnish", "written": 5, "left_out": {}}
    assert house.burnish("feedback", "export", assistant).stdout == out.read_text()
    with deployment(tmp_path / "fresh") as fresh:
        assert fresh.burnish("feedback", "import", "support", str(out)).returncode == 0
        assert fresh.burnish("feedback", "export", "support").stdout == out.read_text()
    with house.database.read() as session:
        entries = session.exec(select(AuditEntry).where(AuditEntry.subject == assistant)).all()
    assert [entry.action for entry in entries] == ["assistant.create", "feedback.import", *["feedback.export"] * 2]


def test_a_trainers_format_has_only_what_may_be_learned_from(house: Deployment, assistant: str, tmp_path: Path) -> None:
    house.burnish("feedback", "import", assistant, str(lines(tmp_path / "a.jsonl", 1, 2)))
    house.burnish("feedback", "import", assistant, str(lines(tmp_path / "b.jsonl", 3)), "--training")
    house.burnish("feedback", "import", assistant, str(lines(tmp_path / "c.jsonl", 4)), "--no-training")

    def exported(format: str) -> dict[str, Any]:
        out = str(tmp_path / "out")
        done = house.burnish("feedback", "export", assistant, "--format", format, "--out", out, "--json")
        return dict(json.loads(done.stdout))

    assert exported("openai-sft")["written"] == 3
    assert [json.loads(line)["messages"][0]["content"][-2] for line in (tmp_path / "out").read_text().splitlines()] == [
        *"123"
    ]
    assert exported("csv")["written"] == 3
    assert exported("openai-dpo") | {"file": ""} == {
        "file": "",
        "format": "openai-dpo",
        "written": 0,
        "left_out": {
            "only choices, and corrections of a reply, make pairs": 3,
            "the conversation may not be used for training": 1,
        },
    }
    with house.database.write() as session:
        assistants.set_consent(session, assistants.get_assistant(session, assistant), Consent.OPT_IN, actor="test")
    assert exported("openai-sft")["written"] == 1
    again = house.burnish("feedback", "import", assistant, str(tmp_path / "a.jsonl"))
    assert "--training" in again.stdout


def test_a_trainers_format_has_identifiers_only_where_the_policy_leaves_them(
    house: Deployment, assistant: str, tmp_path: Path
) -> None:
    path = tmp_path / "answers.csv"
    path.write_text("question,answer\nWhom do I ask?,Write to jane.roe@example.com.\n")
    house.burnish("feedback", "import", assistant, str(path))

    def answer() -> Any:
        (line,) = house.burnish("feedback", "export", assistant, "--format", "openai-sft").stdout.splitlines()
        return json.loads(line)["messages"][-1]["content"]

    assert answer() == "Write to [EMAIL_1]."
    assert "jane.roe@example.com" in house.burnish("feedback", "export", assistant).stdout
    house.burnish("assistant", "set", assistant, "privacy.replace_identifiers=false")
    assert answer() == "Write to jane.roe@example.com."


def test_an_export_never_replaces_what_is_no_file(house: Deployment, tmp_path: Path) -> None:
    for place in ("/dev/null", str(tmp_path)):
        refused = house.burnish("feedback", "export", "support", "--out", place)
        assert refused.returncode == 1
        assert "plain file" in refused.stderr
    assert not Path("/dev/null").is_file()
    assert house.burnish("feedback", "export", "support", "--json").returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_an_export_into_a_closed_pipe_ends_quietly(house: Deployment, assistant: str, tmp_path: Path) -> None:
    house.burnish("feedback", "import", assistant, str(lines(tmp_path / "a.jsonl", *range(1, 2000))))
    command = f"set -o pipefail; {BURNISH} feedback export {assistant} | head -1"
    done = subprocess.run(["bash", "-c", command], env=house.environment, capture_output=True, text=True, check=False)
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


@pytest.mark.parametrize(
    ("name", "count", "named"),
    [("hh_rlhf_harmless.jsonl", 1277, False), ("pandalm_pairs.json", 1085, True)],
)
def test_the_real_files(house: Deployment, assistant: str, name: str, count: int, *, named: bool) -> None:
    path = real_data_or_skip(name)
    # all that one annotator said is on one side, and there are only three of them: none of it is to be only for dev
    house.burnish("assistant", "set", assistant, "training.dev_fraction=0")
    for taken in (count, 0):
        done = house.burnish("feedback", "import", assistant, str(path), "--json")
        assert (done.returncode, json.loads(done.stdout)["files"][0]["taken"]) == (3, taken)
    preview = json.loads(house.burnish("dataset", "preview", assistant, "--json").stdout)
    assert preview["funnel"][0]["items_left"] == count
    pairs = {side: counts["dpo"] for side, counts in preview["rows"].items()}
    assert sum(pairs.values()) > 0
    assert named or pairs["gate"] > 0


def killed(house: Deployment, arguments: list[str], after: Callable[[], bool]) -> bool:
    """Start an import and kill -9 it once `after()`; whether that hit it."""
    process = subprocess.Popen([str(BURNISH), *arguments], env=house.environment, stdout=subprocess.DEVNULL)
    while process.poll() is None and not after():
        time.sleep(0.005)
    process.kill()
    return process.wait() != 0


def test_an_import_that_was_killed_is_taken_up_and_ends_with_the_same_rows(tmp_path: Path) -> None:
    seed = int(os.environ.get("BURNISH_TEST_SEED") or random.randrange(2**31))
    print(f"BURNISH_TEST_SEED={seed}")
    chance = random.Random(seed)
    path = tmp_path / "said.jsonl"
    rows = (
        {
            "kind": "correction",
            "messages": [{"role": "user", "content": f"Question {number}?"}],
            "reply": "No.",
            "value": f"Answer {number}.",
            "contributor": f"person {number % 50}",
            "created_at": "2025-01-01T00:00:00+00:00",
        }
        for number in range(6000)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with deployment(tmp_path / "whole") as whole, deployment(tmp_path / "broken") as broken:
        assert whole.burnish("feedback", "import", "support", str(path)).returncode == 0
        arguments = ["feedback", "import", "support", str(path)]
        hits = 0
        for _ in range(3):
            end = time.monotonic() + chance.uniform(0.6, 2.5)
            hits += killed(broken, arguments, lambda end=end: time.monotonic() > end)  # type: ignore[misc]
        print(f"{hits} of 3 kills hit")
        done = json.loads(broken.burnish(*arguments, "--json").stdout)["files"][0]
        assert done["taken"] + done["known"] == 6000
        said = [one.burnish("feedback", "export", "support").stdout for one in (whole, broken)]
    assert said[0] == said[1]
    assert said[0].count("\n") == 6000
