"""Limits with clear answers: too many requests, too long a reply, an engine that hangs, a client that leaves."""

import contextlib
import json
import os
import re
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import openai
import pytest
import sqlmodel
from burnish_server import DEADLINE_SECONDS, Deployment, InProcess, deployment, eventually
from safetensors.torch import load_file, save_file
from tiny import make_tiny_base

from feedback.models import Message
from feedback.states import MessageStatus, Role
from service.engines.base import EngineHealth
from service.engines.echo import EchoEngine
from service.engines.local import LocalEngine

MANY_WORDS = " ".join(f"word{number}" for number in range(600))
SLOT_FREE_SECONDS = 1.0
"""How long after its client has gone a slot may stay taken."""


@pytest.fixture(scope="module")
def endless_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with a long context that never ends a greedy reply by itself."""
    folder = make_tiny_base(tmp_path_factory.mktemp("endless-base"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 8192}))
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"][config["eos_token_id"]] = 0
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


class LocalHouse:
    """The application on the local engine with a tiny model, all in reach of the test."""

    def __init__(self, made: Deployment, base: Path, max_batch: int, **options: Any) -> None:
        self.made = made
        self.engine = LocalEngine(
            str(base), base, device="cpu", dtype="float32", threads=1, max_batch=max_batch, **options
        )
        self.app = InProcess(made, self.engine)

    def health(self) -> EngineHealth:
        return self.engine.health()

    @contextlib.contextmanager
    def asking(self, words: str, tokens: int, token: str | None = None, **more: Any) -> Iterator[socket.socket]:
        """A request on a connection of its own; leaving the context closes it."""
        body = {"model": "support", "messages": [{"role": "user", "content": words}], "max_tokens": tokens}
        content = json.dumps({**body, "temperature": 0, **more}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token or self.made.admin}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self.made.settings.port), timeout=60) as connection:
            connection.sendall(head.encode() + content)
            yield connection


@pytest.fixture
def one_slot(tmp_path: Path, endless_base: Path) -> Iterator[LocalHouse]:
    with deployment(tmp_path, max_batch=1) as made:
        house = LocalHouse(made, endless_base, max_batch=1, silence_seconds=2.0)
        yield house
        house.app.stop()


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[tuple[Deployment, EchoEngine]]:
    """An application whose replies take longer than they may."""
    with deployment(tmp_path, request_seconds=3) as made:
        engine = EchoEngine(delay_seconds=0.02)
        app = InProcess(made, engine)
        yield made, engine
        app.stop()


# ── how long a reply may take ──


def test_a_stream_that_takes_too_long_ends_with_an_error_and_keeps_its_part(
    slow: tuple[Deployment, EchoEngine],
) -> None:
    made, engine = slow
    body = {"model": "support", "messages": [{"role": "user", "content": MANY_WORDS}], "stream": True}
    answer = made.http.post("/v1/chat/completions", json=body)
    *chunks, last = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]
    assert (last["error"]["type"], last["error"]["code"]) == ("timeout_error", "request_timeout")
    assert "max_tokens" in last["error"]["message"]
    assert engine.health().running == 0
    (reply,) = made.replies(chunks[0]["id"])
    assert reply.status == MessageStatus.STOPPED
    assert reply.content == "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)


@pytest.mark.parametrize("delay_seconds", [0.02, 60.0], ids=["while it is written", "before its first token"])
def test_a_reply_that_takes_too_long_is_504_and_not_asked_for_again(
    slow: tuple[Deployment, EchoEngine], delay_seconds: float
) -> None:
    made, engine = slow
    engine.delay_seconds = delay_seconds
    client = made.openai().with_options(max_retries=2)
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="support", messages=[{"role": "user", "content": MANY_WORDS}])
    assert (caught.value.status_code, caught.value.code) == (504, "request_timeout")
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert engine.health().running == 0
    assert replies_stored(made) == [MessageStatus.STOPPED]


# ── how many may come ──


def test_two_hundred_requests_of_one_key_leave_room_for_another(tmp_path: Path, endless_base: Path) -> None:
    with deployment(tmp_path) as made, contextlib.ExitStack() as opened:
        house = LocalHouse(made, endless_base, made.settings.max_batch)
        opened.callback(house.app.stop)
        greedy, modest = made.make_key(Role.CHAT, "support"), made.make_key(Role.CHAT, "support")
        many = [opened.enter_context(house.asking("the key", 600, greedy)) for _ in range(200)]
        wait_for(lambda: house.health().waiting > 10)
        one = rest(opened.enter_context(house.asking("the key", 5, modest)))
        early, _, _ = select.select(many, [], [], 0)
        before = sum(is_served(connection.recv(12, socket.MSG_PEEK)) for connection in early)
        answers = [rest(connection) for connection in many]
        served = sum(is_served(answer) for answer in answers)
        refused = [answer for answer in answers if not is_served(answer)]
        assert is_served(one)
        assert before < served / 2, "the other key's should have been answered while most of these waited"
        assert served >= 60
        assert refused
        for answer in refused:
            assert answer.startswith(b"HTTP/1.1 429 ")
            found = re.search(rb"retry-after: (\d+)", answer)
            assert found
            assert 1 <= int(found[1]) <= 60
            assert b"rate_limit_exceeded" in answer
        assert house.health().running == house.health().waiting == 0


def is_served(answer: bytes) -> bool:
    return answer.startswith(b"HTTP/1.1 200")


def test_who_finds_no_room_is_told_when_to_come_again_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with deployment(tmp_path, max_batch=1, max_queue=1) as made:
        app = InProcess(made, EchoEngine(delay_seconds=0.05))
        other = made.openai(made.make_key(Role.CHAT, "support"))
        hello: Any = [{"role": "user", "content": "good morning"}]
        streams = [
            made.openai().chat.completions.create(
                model="support", messages=[{"role": "user", "content": MANY_WORDS}], stream=True
            )
            for _ in range(2)
        ]
        with pytest.raises(openai.RateLimitError) as caught:
            other.chat.completions.create(model="support", messages=hello)
        assert (caught.value.type, caught.value.code) == ("rate_limit_error", "queue_full")
        assert int(caught.value.response.headers["retry-after"]) >= 1
        assert len(replies_stored(made)) == 2
        streams[0].close()
        answer = other.with_options(max_retries=3).chat.completions.create(model="support", messages=hello)
        assert answer.choices[0].message.content == "[base] good morning"
        streams[1].close()
        app.stop()


# ── a client that leaves ──


@pytest.mark.parametrize("others", [0, 3])
def test_a_client_that_leaves_frees_its_slot_at_once(tmp_path: Path, endless_base: Path, others: int) -> None:
    with deployment(tmp_path, max_batch=1 + others) as made, contextlib.ExitStack() as opened:
        house = LocalHouse(made, endless_base, 1 + others)
        opened.callback(house.app.stop)
        for _ in range(others):
            first_words(opened.enter_context(house.asking("the box", 8000, stream=True)))
        for when in ("reading a stream", "waiting for it all", "its prompt is being read"):
            seconds = [seconds_until_free(house, when, others, number) for number in range(5)]
            assert median(seconds) <= SLOT_FREE_SECONDS, (when, seconds)


def seconds_until_free(house: LocalHouse, when: str, others: int, number: int) -> float:
    """How long after a client has left the one that waits behind it is served."""
    reading = when == "its prompt is being read"
    words = f"{number} " + "the key in the box " * (1550 if reading else 1)  # none that was read before
    with house.asking(words, 8000 - len(words.split()), stream=when == "reading a stream") as leaving:
        wait_for(lambda: house.health().running == 1 + others)
        with house.asking("where is it", 3, stream=True) as waiting:
            wait_for(lambda: house.health().waiting == 1)
            if not reading:
                time.sleep(0.1)
            began = time.monotonic()
            leaving.close()
            first_words(waiting)
            seconds = time.monotonic() - began
    wait_for(lambda: house.health().running == others)
    return seconds


def wait_for(condition: Callable[[], bool]) -> None:
    """More often looked than `eventually` does."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def first_words(connection: socket.socket) -> None:
    received = b""
    while b"data: " not in received:
        received += connection.recv(65536)


# ── an engine that hangs ──


def test_an_engine_that_hangs_is_replaced_and_everybody_hears_of_it(
    one_slot: LocalHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.engines.local.engine.CLOSE_SECONDS", 1.0)
    made = one_slot.made
    with contextlib.ExitStack() as opened:
        running = opened.enter_context(one_slot.asking("the key", 8000, stream=True))
        first_words(running)
        waiting = opened.enter_context(one_slot.asking("the box", 8000))
        eventually(lambda: one_slot.health().waiting == 1, "one waits")
        assert one_slot.engine._process is not None
        os.kill(one_slot.engine._process.pid, signal.SIGSTOP)
        eventually(lambda: made.anyone.get("/health/ready").status_code == 503, "it isn't ready")
        streamed, refused = rest(running), rest(waiting)
    assert b'data: {"error":' in streamed
    assert b"engine_unavailable" in streamed
    assert refused.startswith(b"HTTP/1.1 503")
    assert b"retry-after: " in refused
    eventually(lambda: made.anyone.get("/health/ready").status_code == 200, "the new engine is ready")
    assert made.ask("where is it", max_tokens=3)["usage"]["completion_tokens"] == 3


def rest(connection: socket.socket) -> bytes:
    """What comes until the answer ends."""
    received = b""
    while piece := connection.recv(65536):
        received += piece
        if received.endswith((b"}", b"0\r\n\r\n")):
            break
    return received


def replies_stored(made: Deployment) -> list[MessageStatus]:
    with made.database.read() as session:
        return list(session.exec(sqlmodel.select(Message.status).where(Message.role == "assistant")))
