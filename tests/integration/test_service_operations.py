"""Starting, stopping, health and logs of the service's process."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from burnish_server import DEADLINE_SECONDS, Deployment, bearer, clean_environment, deployment, eventually

from feedback import assistants, releases
from feedback.columns import now
from feedback.states import MessageStatus, Role

MARKER = "zanzibar-marmalade"


def start_and_fail(environment: dict[str, str], **settings: str) -> str:
    """What `python -m service` says on stderr when it can't start."""
    done = subprocess.run(
        [sys.executable, "-m", "service"],
        env={**environment, **settings},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert done.returncode not in (0, None)
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_health_says_live_and_ready_without_a_key_and_more_to_operators(server: Deployment) -> None:
    live = server.anyone.get("/health/live")
    assert (live.status_code, live.json()) == (200, {"status": "live"})
    ready = server.anyone.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json() == {"status": "ready", "problems": 0}
    told = server.ready().json()
    assert (told["status"], told["engine"], told["database"]) == ("ready", "echo engine", "ok")
    assert {"base", "support@0", "garden@0"} <= set(told["serving"])


def test_health_tells_a_key_of_one_assistant_only_about_that_one(own_deployment: Deployment) -> None:
    for name in ("garden", "secret-school"):
        own_deployment.make_assistant(name)
        with own_deployment.database.write() as session:
            version = releases.live(session, assistants.get_assistant(session, name)).version
            version.tainted_at, version.tainted_reason = now(), "Something was erased."
            session.add(version)
    own_deployment.start()
    limited = bearer(own_deployment.make_key(Role.OPERATOR, "garden"))
    told = own_deployment.anyone.get("/health/ready", headers=limited).json()
    assert (told["status"], told["engine"], told["serving"]) == ("ready", "echo engine", ["garden@0"])
    assert list(told["problems"]) == ["garden: tainted"]
    assert set(own_deployment.ready().json()["problems"]) == {"garden: tainted", "secret-school: tainted"}
    chat = own_deployment.anyone.get("/health/ready", headers=bearer(own_deployment.make_key(Role.CHAT, "garden")))
    assert (chat.status_code, chat.json()) == (200, own_deployment.anyone.get("/health/ready").json())


def test_the_log_is_json_and_holds_neither_words_nor_receipts_nor_keys(server: Deployment) -> None:
    completion_id = server.ask(f"tell me about {MARKER}", user=MARKER, metadata={"conversation_id": MARKER})["id"]
    body: dict[str, Any] = {"model": "support", "messages": [{"role": "user", "content": MARKER}], "stream": True}
    assert MARKER in server.http.post("/v1/chat/completions", json=body).text
    receipt = server.give(completion_id, "correction", f"{MARKER} is tasty.", comment=MARKER, tags=[MARKER]).json()
    assert server.http.get(f"/v1/feedback/{receipt['receipt']}").status_code == 200
    # refused, and as wrong as can be: what can't be stored isn't quoted either
    server.give(completion_id, "preference", {"rejected": {"completion_id": [MARKER], "choice": {MARKER: 1}}})
    server.give(completion_id, MARKER, MARKER)
    server.http.post("/v1/chat/completions", json={**body, "messages": [{"role": MARKER, "content": MARKER}]})
    server.http.post("/v1/chat/completions", json={**body, "stop": [MARKER] * 9})
    lines = eventually(
        lambda: [line for line in server.log_lines() if line.get("path") == "/v1/feedback/…"], "the requests are logged"
    )
    assert {"request_id", "method", "status", "seconds", "level", "timestamp"} <= set(lines[0])
    log = server.log.read_text()
    assert MARKER not in log
    assert "rcpt-" not in log
    assert not re.search(r"sk-burnish-\w", log)


def test_a_stream_under_way_at_sigterm_is_finished_and_new_requests_are_refused(own_deployment: Deployment) -> None:
    own_deployment.start()
    words = " ".join(f"word{number}" for number in range(250))
    with streaming(own_deployment, words) as (completion_id, lines):
        assert own_deployment.process is not None
        own_deployment.process.send_signal(signal.SIGTERM)
        own_deployment.process.send_signal(signal.SIGTERM)  # one wish: both process manager and `burnish up` may ask
        eventually(lambda: own_deployment.anyone.get("/health/ready").status_code == 503, "it isn't ready any more")
        said = own_deployment.anyone.get("/health/ready").json()
        assert said["status"] == "not ready"
        assert "stopping" in said["service"]
        assert own_deployment.anyone.get("/health/live").status_code == 200
        body = {"model": "support", "messages": [{"role": "user", "content": "good morning"}]}
        refused = own_deployment.http.post("/v1/chat/completions", json=body)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "engine_unavailable"
        assert int(refused.headers["retry-after"]) > 0
        rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    assert own_deployment.wait() == 0
    (reply,) = own_deployment.replies(completion_id)
    assert (reply.status, reply.content) == (MessageStatus.COMPLETE, f"[base] {words}")
    own_deployment.log_lines()  # JSON to the last line


@pytest.mark.parametrize(("shutdown_seconds", "signals"), [(1, 1), (45, 2)], ids=["out of time", "asked twice"])
def test_a_reply_that_a_shutdown_can_not_wait_for_ends_with_an_error(
    tmp_path: Path, shutdown_seconds: int, signals: int
) -> None:
    with deployment(tmp_path, shutdown_seconds=shutdown_seconds) as made:
        made.start()
        with streaming(made, " ".join(f"word{number}" for number in range(4000))) as (completion_id, lines):
            assert made.process is not None
            for number in range(signals):
                time.sleep(number * 1.5)
                made.process.send_signal(signal.SIGINT)
            began = time.monotonic()
            *_, last = [line for line in lines if line]
            assert time.monotonic() - began < 20
        error = json.loads(last.removeprefix("data: "))["error"]
        assert error["code"] == "engine_unavailable"
        assert "stopping" in error["message"]
        assert made.wait() == 0
        (reply,) = made.replies(completion_id)
        assert reply.status == MessageStatus.STOPPED
        assert reply.content.startswith("[base] word0 word1")


@contextmanager
def streaming(made: Deployment, words: str) -> Iterator[tuple[str, Iterator[str]]]:
    """A stream that has begun: its id, and the lines to come."""
    body = {"model": "support", "messages": [{"role": "user", "content": words}], "stream": True, "max_tokens": 9999}
    with made.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = answer.iter_lines()
        yield json.loads(next(lines).removeprefix("data: "))["id"], lines


def test_sixteen_clients_at_once_are_all_answered_and_stored(server: Deployment) -> None:
    ids: list[str] = []
    threads = [
        threading.Thread(target=lambda number=number: ids.append(server.ask(f"client {number}")["id"]))
        for number in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    assert len(ids) == 16
    assert {server.replies(one)[0].status for one in ids} == {MessageStatus.COMPLETE}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"BURNISH_PORT": "eighty"}, "BURNISH_PORT"),
        ({"BURNISH_ENGINE": "local"}, "burnish model prepare"),
        ({"BURNISH_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}, "connection"),
        ({"BURNISH_DATABASE_URL": "mysql://nobody@127.0.0.1:1/none"}, "MySQLdb"),
    ],
)
def test_a_setting_that_can_not_work_is_one_clear_line(
    own_deployment: Deployment, settings: dict[str, str], says: str
) -> None:
    assert says in start_and_fail(own_deployment.environment, **settings)


def test_a_port_in_use_is_one_clear_line(own_deployment: Deployment) -> None:
    with socket.create_server(("127.0.0.1", own_deployment.settings.port)):
        said = start_and_fail(own_deployment.environment)
    assert "BURNISH_PORT" in said
    assert str(own_deployment.settings.port) in said


def test_a_database_without_a_schema_is_one_clear_line(tmp_path: Path) -> None:
    environment = clean_environment(BURNISH_DATA_FOLDER=str(tmp_path), BURNISH_ENGINE="echo")
    assert "burnish doctor --migrate" in start_and_fail(environment)
