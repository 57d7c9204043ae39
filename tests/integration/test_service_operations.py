"""Starting, stopping, health and logs of the service's process."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from burnish_server import DEADLINE_SECONDS, Deployment, clean_environment, deployment, eventually

from feedback.states import MessageStatus

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


def test_a_stream_under_way_at_sigterm_is_finished_then_the_service_exits_0(own_deployment: Deployment) -> None:
    own_deployment.start()
    words = " ".join(f"word{number}" for number in range(150))
    body = {"model": "support", "messages": [{"role": "user", "content": words}], "stream": True}
    with own_deployment.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = answer.iter_lines()
        completion_id = json.loads(next(lines).removeprefix("data: "))["id"]
        assert own_deployment.process is not None
        own_deployment.process.send_signal(signal.SIGTERM)
        rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    assert own_deployment.wait() == 0
    (reply,) = own_deployment.replies(completion_id)
    assert (reply.status, reply.content) == (MessageStatus.COMPLETE, f"[base] {words}")
    own_deployment.log_lines()  # JSON to the last line


def test_a_reply_that_outlasts_the_shutdown_time_is_stored_as_stopped(tmp_path: Path) -> None:
    with deployment(tmp_path, shutdown_seconds=1) as made:
        made.start()
        words = " ".join(f"word{number}" for number in range(2000))
        body = {"model": "support", "messages": [{"role": "user", "content": words}], "stream": True}
        with made.http.stream("POST", "/v1/chat/completions", json=body) as answer:
            completion_id = json.loads(next(answer.iter_lines()).removeprefix("data: "))["id"]
            assert made.process is not None
            made.process.send_signal(signal.SIGINT)
            assert made.wait() == 0
        (reply,) = made.replies(completion_id)
        assert reply.status == MessageStatus.STOPPED
        assert reply.content.startswith("[base]")


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
