"""`burnish review`, `case`, `feedback approve edit reject` and `assistant guidelines` at a terminal."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from burnish_server import BURNISH, clean_environment
from typer.testing import CliRunner

from feedback import assistants, cases
from feedback.cli.app import app
from feedback.complaints import complaint_of
from feedback.testing import House


@pytest.fixture
def burnish(embedded: House, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command in this process; returns what it prints, read as JSON unless it is for people."""
    for name, value in clean_environment(**embedded.settings.as_environment(), COLUMNS="200").items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str, people: bool = False) -> Any:
        done = CliRunner().invoke(app, [*arguments, *([] if people else ["--json"])])
        if done.exit_code:
            return complaint_of(done.exception) if isinstance(done.exception, Exception) else done.output
        return done.output if people else json.loads(done.output)

    return run


def test_reviewing_at_the_terminal(embedded: House, burnish: Any) -> None:
    ids = [embedded.correct(f"Question {number}?", "No.", f"Yes {number}.").id for number in range(3)]
    assert burnish("review", "list", "support") == []
    assert [one["id"] for one in burnish("review", "list", "support", "--show", "unreviewed")] == ids
    assert ids[0] in burnish("review", "list", "support", "--show", "unreviewed", people=True)
    assert burnish("review", "next", "support", "--show", "unreviewed")["id"] == ids[0]
    assert "Question 0?" in burnish("review", "next", "support", "--show", "unreviewed", people=True)
    assert burnish("review", "release", ids[0])["held by"] is None
    assert burnish("feedback", "approve", ids[0], "--note", "Thanks.")["status"] == "received"
    edited = burnish("feedback", "edit", ids[1], "It is so.", "--key-fact", "so")
    assert (edited["status"], edited["reviews"]) == ("received", ["edited by cli: It is so."])
    assert burnish("feedback", "show", ids[1])["reviews"] == ["edited by cli: It is so."]
    asked = burnish("feedback", "reject", ids[2], "--second-opinion")
    assert (asked["status"], asked["status_reason"]) == ("in_review", "Two people decide about it.")
    assert burnish("feedback", "reject", ids[2], "--final")["status"] == "declined"
    assert burnish("review", "next", "support", "--show", "unreviewed") is None
    assert "Nothing waits." in burnish("review", "next", "support", people=True)
    assert burnish("review", "agreement", "support") == [
        {"reviewers": ["all"], "n": 0, "agreed": 0, "kappa": None, "low": None, "high": None}
    ]
    assert "kappa" in burnish("review", "agreement", "support", people=True)
    assert "isn't in the corrected reply" in burnish("feedback", "edit", ids[1], "Red.", "--key-fact", "green")


def test_a_case_at_the_terminal(embedded: House, burnish: Any) -> None:
    embedded.say(embedded.reply("Which colour?", "Red."), "report", "abuse", comment="Rude!")
    (case,) = burnish("case", "list", "support")
    assert (case["status"], case["reports"], case["category"]) == ("open", 1, "abuse")
    assert burnish("case", "take", case["id"], "--note", "Odd.")["assignee"] == "cli"
    assert "Odd." in burnish("case", "show", case["id"], people=True)
    assert burnish("case", "show", case["id"])["reports"][0]["comment"] == "Rude!"
    assert burnish("case", "note", case["id"], "Asked.")["status"] == "investigating"
    assert burnish("case", "resolve", case["id"], "dismissed", "--answer", "It is fine.")["status"] == "resolved"
    assert burnish("case", "list", "support", "--status", "open") == []
    assert burnish("case", "reopen", case["id"])["status"] == "open"
    with embedded.database.read() as session:
        found = cases.get_case(session, case["id"])
    assert ([note["text"] for note in found.notes], found.answer) == (["Odd.", "Asked."], "It is fine.")
    assert "burnish case list" in burnish("case", "show", "case-nothing")


def test_nobodys_words_command_the_terminal(embedded: House, burnish: Any) -> None:
    asked = embedded.reply("Which\tcolour?\n\x1b[2J", "Red.\x9b31m", external_id="\x1b[2J\x9b5m")
    said = "\x1b]0;mine\x07 \u202eolleh\u202c\nbye\r"
    given = embedded.say(asked, "comment", comment=said, tags=("\x1b[5m",), anonymous=True)
    embedded.say(asked, "report", "other", comment=said)
    (case,) = burnish("case", "list", "support")
    declined = embedded.say(asked, "correction", "Blue.", anonymous=True)
    burnish("feedback", "reject", declined.id, "--note", said)
    run = burnish("train", "support", "--reason", said)["run"]
    for command in (
        ("feedback", "show", given.id),
        ("feedback", "list", "support"),
        ("review", "next", "support"),
        ("case", "show", case["id"]),
        ("lineage", given.id),
        ("lineage", declined.id),
        ("lineage", asked),
        ("lineage", run),
        ("status",),
    ):
        shown = burnish(*command, people=True)
        assert not {"\x1b", "\x07", "\x9b", "\r", "\u202e"} & set(shown), command
    assert "in conversation \\x1b[2J\\x9b5m" in burnish("lineage", asked, people=True)
    assert "\\x1b]0;mine\\x07 \\u202eolleh" in burnish("feedback", "show", given.id, people=True)
    assert burnish("feedback", "show", given.id)["comment"] == said  # programs get what was said
    as_json = CliRunner().invoke(app, ["feedback", "show", given.id, "--json"]).output
    assert not {"\x1b", "\x9b", "\u202e"} & set(as_json)


def test_an_export_to_a_terminal_is_shown_not_obeyed(embedded: House, tmp_path: Path) -> None:
    embedded.correct("Which colour?", "Red.", "Blue.\x9b31m\u202e")
    command = [str(BURNISH), "feedback", "export", "support", "--format", "csv"]
    terminal, end = os.openpty()
    environment = clean_environment(**embedded.settings.as_environment())
    with open(terminal, "rb", buffering=0) as screen, open(end, "wb", buffering=0) as shown_here:
        subprocess.run(command, stdout=shown_here, env=environment, cwd=tmp_path, timeout=60, check=True)
        assert screen.read(1000).decode() == '"question","answer"\r\n"Which colour?","Blue.\\x9b31m\\u202e"\r\n'
    printed = subprocess.run(command, capture_output=True, env=environment, cwd=tmp_path, timeout=60, check=True).stdout
    assert printed.decode() == '"question","answer"\r\n"Which colour?","Blue.\x9b31m\u202e"\r\n'


def test_guidelines_at_the_terminal(embedded: House, burnish: Any, tmp_path: Path) -> None:
    command = ("assistant", "guidelines", "support")
    assert burnish(*command)["system_prompt"] == "Answer briefly."
    changes = ("--set", "tone=Short, and warm = kind.", "--set", 'boundaries=["Never guess."]')
    changed = burnish(*command, *changes, "--set", "review_due=2024-05-01")
    assert (changed["version"], changed["tone"], changed["boundaries"]) == (
        2,
        "Short, and warm = kind.",
        ["Never guess."],
    )
    assert (changed["review_due"], changed["review_overdue"]) == ("2024-05-01", True)
    assert [one["review_overdue"] for one in burnish("status")["serving"]] == [False, True]
    file = tmp_path / "guidelines.json"
    file.write_text(json.dumps({"purpose": "You help with tents."}))
    replaced = burnish(*command, "--file", str(file))
    assert (replaced["version"], replaced["system_prompt"], replaced["purpose"]) == (3, "", "You help with tents.")
    assert burnish(*command, "--file", str(file), "--set", "review_due=")["version"] == 3
    assert [one["version"] for one in burnish(*command, "--history")] == [3, 2, 1]
    assert "Answer briefly." in burnish(*command, "--history", people=True)
    assert burnish(*command, "--version", "1")["system_prompt"] == "Answer briefly."
    assert burnish("assistant", "set", "support", "--system-prompt", "Rhyme.")["assistant"] == "support"
    with embedded.database.read() as session:
        current = assistants.current_guidelines(session, embedded.assistant)
    assert (current.version, current.system_prompt, current.purpose) == (4, "Rhyme.", "You help with tents.")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--set", "mood=good"), "the fields are system_prompt"),
        (("--set", "boundaries=Never guess."), "JSON list"),
        (("--set", "review_due=soon"), "review_due"),
        (("--version", "9"), "--history"),
        (("--version", "1", "--history"), "one at a time"),
        (("--file", "nothing.json"), "nothing.json"),
    ],
)
def test_guidelines_out_of_form_are_one_clear_line(burnish: Any, arguments: tuple[str, ...], says: str) -> None:
    assert says in burnish("assistant", "guidelines", "support", *arguments)
