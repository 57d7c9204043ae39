"""The `burnish` command: what it prints for people and programs, and how it says no."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from burnish_server import Deployment, deployment
from said import Said, assert_one_clear_line, say

from feedback.adapters import folder_of
from feedback.testing import House

Run = Callable[..., Said]


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment whose service doesn't run: all that commands need is its data folder."""
    with deployment(tmp_path_factory.mktemp("closed")) as made:
        yield made


@pytest.fixture
def run(closed: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `burnish …` in this process, which saves the start of a new one."""

    def run(*arguments: str, **settings: str) -> Said:
        return say(*arguments, environment={**closed.environment, **settings}, monkeypatch=monkeypatch, capsys=capsys)

    return run


def completion(closed: Deployment, question: str, answer: str) -> str:
    """A stored exchange with the assistant `support`, as if the service had written it."""
    house = House.__new__(House)
    house.settings, house.database, house.name = closed.settings, closed.database, "support"
    house.assistant = house.reload()
    house.caller = caller(closed)
    return house.reply(question, answer)


def caller(closed: Deployment) -> Any:
    from feedback import keys

    with closed.database.read() as session:
        return keys.authenticate(session, closed.admin)


def correct(closed: Deployment, question: str, wrong: str, right: str) -> str:
    from feedback.collect import intake
    from feedback.states import FeedbackKind
    from feedback.testing import SECRET

    completion_id = completion(closed, question, wrong)
    given = intake.Given(completion_id, FeedbackKind.CORRECTION, value=right)
    return intake.receive(closed.database, SECRET, caller(closed), given).id


GROUPS = ("key", "assistant", "adapters", "dataset", "feedback", "review", "case", "model")
COMMANDS = (
    "up",
    "serve",
    "worker",
    "demo",
    "status",
    "doctor",
    "chat",
    "train",
    "run",
    "evaluate",
    "erase",
    "erasures",
    "retention",
    "lineage",
)


def test_help_names_every_command_and_every_command_has_help(run: Run) -> None:
    overview = run("--help")
    assert overview.status == 0
    for name in (*GROUPS, *COMMANDS):
        assert name in overview.out
        told = run(name, "--help")
        assert (told.status, "Usage" in told.out) == (0, True)


def test_a_key_is_shown_once_listed_without_its_text_and_revoked(run: Run) -> None:
    made = run("key", "create", "a page", "--role", "feedback", "--assistant", "support", "--json").value
    assert made["key"].startswith("sk-burnish-")
    listed = run("key", "list", "--json")
    assert made["key"] not in listed.out
    (found,) = [key for key in listed.value if key["id"] == made["id"]]
    assert (found["name"], found["role"], found["revoked"]) == ("a page", "feedback", None)
    assert run("key", "revoke", str(made["id"]), "--json").value["revoked"]
    assert "a page" in run("key", "list").out
    assert_one_clear_line(run("key", "revoke", "999"), "999", "burnish key list")
    assert_one_clear_line(run("key", "create", " "), "name")
    assert_one_clear_line(run("key", "create", "x", "--assistant", "nobody"), "nobody")
    assert run("key", "create", "x", "--role", "king").status == 2
    assert run("key", "revoke", "9" * 30).status == 2


def test_an_assistant_is_made_shown_and_changed(run: Run) -> None:
    assert run("assistant", "create", "writer", "--system-prompt", "Rhyme.", "--json").value["assistant"] == "writer"
    assert_one_clear_line(run("assistant", "create", "writer"), "already")
    assert_one_clear_line(run("assistant", "create", "Big Name"), "a-z")
    changed = run("assistant", "set", "writer", "release.promotion=auto", "hyperparameters.r=8", "--json").value
    assert (changed["release"]["promotion"], changed["hyperparameters"]["r"]) == ("auto", 8)
    assert run("assistant", "set", "writer", "--system-prompt", "Don't rhyme.", "--json").status == 0
    shown = run("assistant", "show", "writer", "--json").value
    assert (shown["release"]["promotion"], shown["hyperparameters"]["r"]) == ("auto", 8)
    assert (shown["live"], shown["consent"], shown["system_prompt"]) == ("writer@0", "opt_out", "Don't rhyme.")
    assert run("assistant", "set", "writer", "--consent", "opt_in", "--json").value["consent"] == "opt_in"
    assert run("assistant", "show", "writer", "--json").value["consent"] == "opt_in"
    (listed,) = [one for one in run("assistant", "list", "--json").value if one["assistant"] == "writer"]
    assert (listed["promotion"], listed["system_prompt"]) == ("auto", "Don't rhyme.")
    assert "writer" in run("assistant", "list").out
    told = run("assistant", "show", "writer").out
    assert "release.promotion" in told
    assert "LoRA rank." in told


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("release.promotion=soon", "release.promotion"),
        ("release.speed=1", "release.speed"),
        ("weather.sun=1", "weather"),
        ("promotion=auto", "section.name=value"),
        ("release.promotion", "section.name=value"),
        ("hyperparameters.r=many", "hyperparameters.r"),
        ("hyperparameters.r=0", "hyperparameters.r"),
    ],
)
def test_a_policy_that_makes_no_sense_is_one_clear_line(run: Run, policy: str, says: str) -> None:
    before = run("assistant", "show", "support", "--json").value
    assert_one_clear_line(run("assistant", "set", "support", policy), says)
    assert run("assistant", "show", "support", "--json").value == before


def test_versions_are_listed_shown_promoted_and_rolled_back(run: Run, closed: Deployment) -> None:
    version = closed.publish_version()
    label = f"support@{version.number}"
    assert [one["version"] for one in run("adapters", "list", "support", "--json").value] == ["support@0", label]
    shown = run("adapters", "show", label, "--json").value
    assert (shown["sha256"], shown["verdict"], shown["feedback"]) == (version.sha256, "PROMOTE", 0)
    assert Path(shown["folder"]).is_dir()
    assert run("adapters", "show", "support@0", "--json").value["folder"] is None
    assert run("adapters", "verify", label, "--json").value == {"version": label, "files": "whole"}
    assert_one_clear_line(run("adapters", "rollback", "support"), "before")
    assert run("adapters", "promote", label, "--reason", "why not", "--json").value == {"live": label}
    assert_one_clear_line(run("adapters", "promote", label), "already")
    assert run("adapters", "list", "support", "--json").value[1]["release"] == "live"
    assert label in run("adapters", "list", "support").out
    assert run("adapters", "rollback", "support", "--json").value == {"live": "support@0"}


def test_a_damaged_version_is_not_promoted(run: Run, closed: Deployment) -> None:
    version = closed.publish_version()
    folder = folder_of(closed.settings.adapters, version)
    assert folder is not None
    (folder / "adapter_config.json").write_text("{}")
    label = f"support@{version.number}"
    assert_one_clear_line(run("adapters", "promote", label), "changed after it was published")
    (folder / "adapter_config.json").unlink()
    assert_one_clear_line(run("adapters", "verify", label), "lacks adapter_config.json")


def test_feedback_is_listed_shown_and_decided_on(run: Run, closed: Deployment) -> None:
    public_id = correct(closed, "Which day?", "Monday.", "Tuesday.")
    assert public_id in {one["id"] for one in run("feedback", "list", "support", "--json").value}
    assert run("feedback", "list", "support", "--status", "declined", "--json").value == []
    shown = run("feedback", "show", public_id, "--json").value
    assert (shown["conversation"], shown["reply"]) == (["user: Which day?"], "Monday.")
    assert shown["value"]["content"] == "Tuesday."
    assert run("feedback", "reject", public_id, "--note", "no", "--json").value["status"] == "declined"
    assert run("feedback", "approve", public_id, "--json").value["status"] == "received"
    for command in ("list", "show"):
        target = "support" if command == "list" else public_id
        assert public_id in run("feedback", command, target, COLUMNS="200").out


def test_a_dataset_can_be_previewed_before_any_is_frozen(run: Run, closed: Deployment) -> None:
    for number in range(4):
        correct(closed, f"Question {number}?", "Wrong.", f"Right {number}.")
    assert run("dataset", "list", "support", "--json").value == []
    assert isinstance(run("dataset", "preview", "support", "--json").value, dict)
    assert run("dataset", "preview", "support").out.startswith("#")
    assert_one_clear_line(run("dataset", "show", "support", "1"), "1")


def test_a_run_is_queued_seen_and_cancelled(run: Run) -> None:
    assert run("assistant", "create", "pupil").status == 0
    queued = run("train", "pupil", "--json").value
    assert queued["status"] == "queued"
    assert_one_clear_line(run("train", "pupil"), "open run already")
    assert run("status", queued["run"], "--json").value["status"] == "queued"
    cancelled = run("train", "pupil", "--cancel", "--json").value
    assert cancelled == {"run": queued["run"], "status": "cancelled", "training": "none on this machine"}
    assert_one_clear_line(run("train", "pupil", "--cancel"), "No run is open")
    assert_one_clear_line(run("train", "base"), "never learns")


def test_status_and_doctor_tell_programs_and_people(run: Run, closed: Deployment) -> None:
    told = run("status", "--json").value
    assert told["service"] == {"status": "not running"}
    assert {"base", "support"} <= {one["assistant"] for one in told["serving"]}
    assert "support@0" in run("status").out
    examined = run("doctor", "--json")
    findings = {one["check"]: one for one in json.loads(examined.out)}
    assert findings["database"]["ok"] is True
    assert (examined.status == 0) == all(one["ok"] for one in findings.values())
    assert "BURNISH_PORT" in run("doctor", "--settings").out
    assert run("model", "list", "--json").value == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("adapters list nobody", "nobody"),
        ("adapters show nobody@1", "nobody"),
        ("adapters show support@99", "99"),
        ("adapters show support", "assistant@number"),
        ("adapters promote support@99", "99"),
        ("adapters rollback nobody", "nobody"),
        ("assistant show nobody", "nobody"),
        ("dataset preview nobody", "nobody"),
        ("feedback list nobody", "nobody"),
        ("feedback show fb-nothing", "fb-nothing"),
        ("feedback approve fb-nothing", "fb-nothing"),
        ("status run-nothing", "run-nothing"),
        ("train nobody", "nobody"),
        ("run /nowhere", "run.json"),
        ("chat hello", "burnish up"),
    ],
)
def test_what_does_not_exist_is_one_clear_line(run: Run, arguments: str, says: str) -> None:
    assert_one_clear_line(run(*arguments.split()), says)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"BURNISH_PORT": "eighty"}, "BURNISH_PORT"),
        ({"BURNISH_ENGINE": "steam"}, "BURNISH_ENGINE"),
        ({"BURNISH_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}, "burnish doctor"),
        ({"BURNISH_DATABASE_URL": "no database"}, "database"),
        ({"BURNISH_DATABASE_URL": "mysql://nobody@127.0.0.1:1/none"}, "MySQLdb"),
        ({"BURNISH_DATA_FOLDER": "/dev/null/here"}, "/dev/null"),
    ],
)
@pytest.mark.parametrize("command", ["status", "worker", "up"])
def test_a_setting_that_can_not_work_is_one_clear_line(
    run: Run, command: str, settings: dict[str, str], says: str
) -> None:
    if "BURNISH_DATA_FOLDER" in settings:
        settings = {**settings, "BURNISH_DATABASE_URL": ""}
    assert_one_clear_line(run(command, **settings), says)


def test_a_database_without_a_schema_is_one_clear_line_that_names_the_remedy(run: Run, tmp_path: Path) -> None:
    for command in (["status"], ["key", "list"], ["worker"], ["serve"], ["status", "run-1"]):
        assert_one_clear_line(run(*command, BURNISH_DATA_FOLDER=str(tmp_path)), str(tmp_path), "doctor --migrate")
    assert run("doctor", BURNISH_DATA_FOLDER=str(tmp_path)).status == 1
    assert list(tmp_path.iterdir()) == []  # a wrong folder isn't made a right one by looking
    run("doctor", "--migrate", BURNISH_DATA_FOLDER=str(tmp_path))
    assert run("key", "list", "--json", BURNISH_DATA_FOLDER=str(tmp_path)).value == []


def test_a_base_model_that_is_not_prepared_is_one_clear_line(tmp_path: Path) -> None:
    with deployment(tmp_path, engine="local") as made:
        refused = made.burnish("serve")
    assert_one_clear_line(Said(refused.returncode, refused.stdout, refused.stderr), "burnish model prepare")


def test_a_port_in_use_is_one_clear_line_and_nothing_is_started(run: Run, closed: Deployment) -> None:
    with socket.create_server(("127.0.0.1", closed.settings.port)):
        assert_one_clear_line(run("up"), "--port", str(closed.settings.port))


class Stranger(BaseHTTPRequestHandler):
    """Some other program that has the port."""

    def do_POST(self) -> None:
        self.send_error(404)

    def log_message(self, *_: Any) -> None:
        pass


def test_another_program_on_the_port_is_one_clear_line(run: Run, closed: Deployment) -> None:
    with HTTPServer(("127.0.0.1", closed.settings.port), Stranger) as stranger:
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        try:
            assert_one_clear_line(run("chat", "hello"), closed.settings.url)
            assert_one_clear_line(run("chat", "hello", "--json"), closed.settings.url)
        finally:
            stranger.shutdown()


def test_one_question_is_answered_with_a_key_that_stays_the_same(server: Deployment) -> None:
    asked = server.burnish("chat", "good morning", "--model", "support")
    assert (asked.returncode, asked.stdout) == (0, "[base] good morning\n")
    assert asked.stderr.startswith("(chatcmpl-")
    assert server.burnish("chat", "good \x1b[2J", "--model", "support").stdout == "[base] good \\x1b[2J\n"
    answer = json.loads(server.burnish("chat", "hi", "--model", "support", "--json").stdout)
    keys = json.loads(server.burnish("key", "list", "--json").stdout)
    (made,) = [key for key in keys if key["name"] == "burnish chat"]
    kept = server.settings.data_folder / "chat-key"
    assert kept.stat().st_mode & 0o777 == 0o600
    server.burnish("key", "revoke", str(made["id"]))
    assert server.burnish("chat", "again", "--model", "support").returncode == 0  # with a new one
    assert answer["choices"][0]["message"]["content"] == "[base] hi"
    wrong = server.burnish("chat", "hi", "--key", "sk-burnish-nobody")
    assert_one_clear_line(Said(wrong.returncode, wrong.stdout, wrong.stderr), "Unknown or revoked API key")


def test_a_conversation_in_the_terminal_takes_ratings_and_corrections(server: Deployment) -> None:
    typed = ["/good", "how are you?", "/good thank you", "/bad", "/fix Very well.", "/fix", "/dance", "/new", "bye"]
    talk = server.burnish("chat", "--model", "support", stdin="\n".join([*typed, "/quit", ""]))
    assert (talk.returncode, talk.stderr) == (0, "")
    assert "There is no reply yet." in talk.stdout
    assert "[base] how are you?" in talk.stdout
    assert "[base] bye" in talk.stdout
    assert talk.stdout.count("Receipt: rcpt-") == 3
    listed = json.loads(server.burnish("feedback", "list", "support", "--json").stdout)[:3]
    assert [(one["kind"], one["status"]) for one in listed] == [
        ("correction", "received"),
        ("rating", "received"),
        ("rating", "replaced"),
    ]


def test_a_model_that_does_not_exist_does_not_end_a_conversation(server: Deployment) -> None:
    talk = server.burnish("chat", "--model", "[dim]nobody", stdin="hi\n")
    assert talk.returncode == 0
    assert "'[dim]nobody' does not exist" in talk.stdout
