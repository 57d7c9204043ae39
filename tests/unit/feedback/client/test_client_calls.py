"""The client without a service: what it sends, what it tries again, what it makes of answers; on both sides alike."""

import inspect
import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest
from clients import KINDS, make_client

from feedback.client import (
    BurnishError,
    InvalidInput,
    NoAnswerInTime,
    NotFound,
    NotReached,
    ServiceFailed,
    TimedOut,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    Unreadable,
)
from feedback.client.errors import retry_after
from feedback.client.retries import LONGEST_PAUSE_SECONDS, Retries

Answers = Callable[[httpx.Request], httpx.Response]
ACCEPTED = {"id": "fb-1", "receipt": "rcpt-5ec2e7", "status": "received"}
KEY = "sk-burnish-key"


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextmanager
def against(kind: str, answer: Answers | list[Any], **more: Any) -> Iterator[tuple[Any, list[httpx.Request]]]:
    """A client of what answers so, one after the other: a response, an error to raise."""
    asked: list[httpx.Request] = []
    waiting = iter(answer if isinstance(answer, list) else [])

    def answers(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        found = answer(request) if callable(answer) else next(waiting)
        if isinstance(found, Exception):
            raise found
        return found

    with make_client(kind, "http://burnish", KEY, transport=httpx.MockTransport(answers), **more) as client:
        yield client, asked


def refusal(status: int, type: str = "invalid_request_error", **headers: str) -> httpx.Response:
    body = {"message": "No.", "type": type, "param": "value", "code": "a_word"}
    return httpx.Response(status, json={"error": body}, headers={"x-request-id": "req-7", **headers})


def soon(status: int) -> httpx.Response:
    return refusal(status, **{"retry-after": "0"})


def test_what_is_sent_is_the_services_own_form(kind: str) -> None:
    with against(kind, lambda _: httpx.Response(201, json=ACCEPTED)) as (client, asked):
        client.feedback.correct(("chatcmpl-1", 1), "330 m.", key_facts=["330 m"], tags=("tall",), user="ada")
        client.feedback.correct("chatcmpl-1", "330 m.", idempotency_key="mine")
    sent = json.loads(asked[0].content)
    assert sent == {
        "completion_id": "chatcmpl-1",
        "choice": 1,
        "kind": "correction",
        "value": {"content": "330 m.", "key_facts": ["330 m"]},
        "tags": ["tall"],
        "user": "ada",
    }
    assert asked[0].headers["authorization"] == f"Bearer {KEY}"
    assert asked[1].headers["idempotency-key"] == "mine"
    assert asked[0].headers["idempotency-key"] not in ("", "mine")


@pytest.mark.parametrize(
    ("status", "type", "error"),
    [
        (400, "invalid_request_error", InvalidInput),
        (401, "authentication_error", Unauthenticated),
        (404, "invalid_request_error", NotFound),
        (418, "invalid_request_error", InvalidInput),
        (500, "server_error", ServiceFailed),
    ],
)
def test_an_error_has_all_that_the_service_says(kind: str, status: int, type: str, error: Any) -> None:
    with against(kind, [refusal(status, type)]) as (client, asked), pytest.raises(error) as raised:
        client.assistants.list()
    said = raised.value
    assert (said.status, said.type, said.param, said.code) == (status, type, "value", "a_word")
    assert (said.message, said.request_id, len(asked)) == ("No.", "req-7", 1)


def test_what_was_not_begun_is_tried_again_and_what_may_have_been_only_if_it_may(kind: str) -> None:
    chat = {"id": "chatcmpl-1", "model": "support@1", "created": 1, "choices": []}
    reached = httpx.Response(200, json=chat)
    with against(kind, [soon(429), soon(503), reached]) as (client, asked):
        assert client.chat.create("support", "Hi!").id == "chatcmpl-1"
        assert len(asked) == 3
    for broken in (httpx.ReadError("reset"), httpx.ReadTimeout("slow"), soon(502)):
        with against(kind, [broken, reached]) as (client, asked), pytest.raises((NotReached, ServiceFailed)):
            client.chat.create("support", "Hi!")
        assert len(asked) == 1
    with against(kind, [soon(502), soon(504), httpx.Response(201, json=ACCEPTED)]) as (client, asked):
        client.feedback.rate("chatcmpl-1", 1)
    assert len({request.headers["idempotency-key"] for request in asked}) == 1
    assert len({request.content for request in asked}) == 1


def test_it_gives_up_after_so_many_and_where_it_is_told_to(kind: str) -> None:
    with against(kind, [soon(503)] * 2, max_retries=1) as (client, asked), pytest.raises(Unavailable):
        client.assistants.list()
    assert len(asked) == 2
    in_vain = refusal(504, "timeout_error", **{"x-should-retry": "false"})
    with against(kind, [in_vain]) as (client, asked), pytest.raises(TimedOut):
        client.assistants.list()
    tomorrow = refusal(429, "rate_limit_error", **{"retry-after": "86400"})
    with against(kind, [tomorrow]) as (client, asked), pytest.raises(TooManyRequests) as raised:
        client.assistants.list()
    assert raised.value.retry_after_seconds == 86400
    with against(kind, [httpx.ReadTimeout("slow")], max_retries=0) as (client, _), pytest.raises(NoAnswerInTime):
        client.assistants.list()


def test_pauses_grow_to_a_limit() -> None:
    retries, lost = Retries(9), NotReached("Broke off.")
    pauses = [retries.pause_seconds(lost, tried, repeatable=True) or 0 for tried in range(1, 10)]
    assert all(0.375 * 2**n <= pause <= 0.5 * 2**n for n, pause in enumerate(pauses[:5]))
    assert max(pauses) <= LONGEST_PAUSE_SECONDS
    assert retries.pause_seconds(NotReached("Nobody.", sent=False), 1, repeatable=False) is not None
    assert (retry_after({"retry-after": "Fri, 31 Dec 2100 23:59:59 GMT"}) or 0) > 1e9


def test_feedback_survives_a_flaky_service(kind: str) -> None:
    """A real socket: first a connection that is closed without an answer, then a 503."""
    with flaky([None, 503, 201]) as (url, keys), make_client(kind, url, KEY) as client:
        assert client.feedback.rate("chatcmpl-1", 1).id == "fb-1"
    assert len(keys) == 3
    assert len(set(keys)) == 1


@contextmanager
def flaky(statuses: list[int | None]) -> Iterator[tuple[str, list[str]]]:
    keys: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            keys.append(self.headers["idempotency-key"])
            status = statuses[len(keys) - 1]
            if status is not None:
                body = json.dumps(ACCEPTED).encode()
                self.send_response(status)
                self.send_header("retry-after", "0")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", keys
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_nobody_there_is_said_so(kind: str) -> None:
    with (
        make_client(kind, "http://127.0.0.1:9", KEY, max_retries=0) as client,
        pytest.raises(NotReached, match=r"Nothing answers on http://127\.0\.0\.1:9") as raised,
    ):
        client.assistants.list()
    assert not raised.value.sent


@pytest.mark.parametrize(
    "other",
    [
        (200, {"text": "<html>private"}),
        (200, {"json": {"id": "private words"}}),
        (200, {"json": ["private words"]}),
        (302, {"headers": {"location": "/login"}}),
    ],
)
def test_an_answer_that_is_not_burnishs_is_told_without_its_words(kind: str, other: tuple[int, Any]) -> None:
    status, body = other
    with against(kind, [httpx.Response(status, **body)]) as (client, _), pytest.raises(Unreadable) as raised:
        client.runs.get("run-1")
    assert "private" not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
    with against(kind, [httpx.Response(404, text="<html>")]) as (client, _), pytest.raises(NotFound, match="another"):
        client.runs.get("run-1")


def test_fields_and_states_of_a_newer_service_are_no_error(kind: str) -> None:
    newer = {**ACCEPTED, "status": "in_a_new_state", "mood": "sunny"}
    with against(kind, [httpx.Response(201, json=newer)]) as (client, _):
        assert client.feedback.rate("chatcmpl-1", 1).status == "in_a_new_state"


def events(*said: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(each, ensure_ascii=False).encode() + b"\n\n" for each in said)


def chunk(text: str | None, reason: str | None = None, index: int = 0) -> dict[str, Any]:
    choice = {"index": index, "delta": {"content": text} if text is not None else {}, "finish_reason": reason}
    return {"id": "chatcmpl-1", "model": "support@1", "created": 1, "choices": [choice]}


class InPieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that comes a few bytes at a time, and then breaks off or not."""

    def __init__(self, content: bytes, size: int, breaks: bool = False) -> None:
        self._pieces = [content[at : at + size] for at in range(0, len(content), size)]
        self._breaks = breaks

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        if self._breaks:
            raise httpx.ReadError("reset")

    async def __aiter__(self) -> Any:
        for piece in self:
            yield piece


def test_a_stream_is_its_text_however_it_is_cut(kind: str) -> None:
    words = ["Ein Satz\u2028und ", "noch\x85einer\u2029: ", "日本語 🙂"]
    body = b": ping\n\n" + events(*map(chunk, words), chunk(None, "stop"), chunk("b", "length", 1))
    for size in (1, 7, 10_000):
        answer = httpx.Response(200, stream=InPieces(body + b"data: [DONE]\n\n", size))
        with against(kind, [answer]) as (client, asked), client.chat.stream("support", "Hi!", n=2) as stream:
            pieces = list(stream)
        assert [str(piece) for piece in pieces] == [*words, "b"]
        assert [piece.choice for piece in pieces] == [0, 0, 0, 1]
        assert [reply.text for reply in stream.result.replies] == ["".join(words), "b"]
        assert [reply.finish_reason for reply in stream.result.replies] == ["stop", "length"]
        assert json.loads(asked[0].content)["stream"] is True


def test_a_reply_that_breaks_off_is_an_error_and_leaves_what_came(kind: str) -> None:
    for breaks in (True, False):
        answer = httpx.Response(200, stream=InPieces(events(chunk("330"), chunk(" met")), 50, breaks))
        with against(kind, [answer]) as (client, asked):
            stream = client.chat.stream("support", "Hi!")
            with pytest.raises(NotReached):
                stream.finish()
            assert (stream.result.text, stream.result.finish_reason, len(asked)) == ("330 met", None, 1)


def test_an_error_in_mid_stream_is_of_its_kind(kind: str) -> None:
    error = {"error": {"message": "It stopped.", "type": "service_unavailable_error", "code": "engine_unavailable"}}
    answer = httpx.Response(200, content=events(chunk("330"), error), headers={"x-request-id": "req-7"})
    with against(kind, [answer]) as (client, _), pytest.raises(Unavailable) as raised:
        client.chat.stream("support", "Hi!").finish()
    assert (raised.value.code, raised.value.status, raised.value.request_id) == ("engine_unavailable", 503, "req-7")


@pytest.mark.parametrize(
    "event", [{"private": 1}, ["private"], {**chunk("x"), "choices": [{"delta": None, "index": 0}]}]
)
def test_events_that_are_not_burnishs_are_told_without_their_words(kind: str, event: Any) -> None:
    answer = httpx.Response(200, content=events(event))
    with against(kind, [answer]) as (client, _), pytest.raises(Unreadable) as raised:
        client.chat.stream("support", "Hi!").finish()
    assert "private" not in str(raised.value)


def test_nothing_is_asked_before_a_stream_is_read(kind: str) -> None:
    with against(kind, []) as (client, asked):
        stream = client.chat.stream("support", "Hi!")
        with pytest.raises(RuntimeError, match="come yet"):
            _ = stream.result
        stream.close()
    assert asked == []


def test_a_followed_run_is_taken_up_where_it_broke_off(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feedback.client.retries.FIRST_PAUSE_SECONDS", 0.01)
    names = "search_trials base_model waits_for error dataset version verdict progress started_at finished_at"
    run = {
        "id": "run-1",
        "assistant": "support",
        "reason": "due",
        "requested_by": "policy",
        "priority": 0,
        "attempt": 1,
    }
    run |= dict.fromkeys(names.split()) | {"created_at": "2025-01-01T00:00:00Z"}
    queued, running, ended = ({**run, "status": status} for status in ("queued", "running", "succeeded"))
    cut = httpx.Response(200, stream=InPieces(events(queued, running), 99, breaks=True))
    stopped = httpx.Response(200, content=events(running))
    rest = httpx.Response(200, content=events(running, ended) + b"data: [DONE]\n\n")
    with against(kind, [cut, stopped, rest]) as (client, asked):
        stream = client.runs.follow("run-1")
        assert [each.status for each in stream] == ["queued", "running", "succeeded"]
        assert stream.result.status == "succeeded"
    assert len(asked) == 3
    silent = [httpx.Response(200, content=b": ping\n\n") for _ in range(3)]
    with against(kind, silent) as (client, asked), pytest.raises(NotReached):
        client.runs.follow("run-1").finish()
    assert len(asked) == 3


def test_neither_keys_nor_words_nor_receipts_are_logged(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    page = {"data": [], "has_more": False}
    answers = [httpx.Response(201, json=ACCEPTED), refusal(404), httpx.Response(200, json=page), refusal(400)]
    with against(kind, answers) as (client, asked):
        receipt = client.feedback.comment("chatcmpl-1", "private words")
        with pytest.raises(BurnishError):
            receipt.look_up()
        assert list(client.review.list("support", search="private words")) == []
        with pytest.raises(BurnishError) as raised:
            client.chat.create("support", "private words")
        shown = f"{caplog.text} {client!r} {receipt!r} {raised.value!r}"
    assert "/v1/feedback/rcpt-…" in shown  # httpx does log
    assert asked[2].url.params["search"] == "private words"
    for secret in (KEY, "private", "5ec2e7"):
        assert secret not in shown


def test_a_method_shows_its_parameters() -> None:
    with against("sync", []) as (client, _):
        shown = inspect.signature(client.runs.prioritize)
    assert list(shown.parameters) == ["run", "priority"]


def test_where_and_who_come_from_the_environment_when_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[httpx.Request] = []

    def answers(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=[])

    for base_url, key in (("http://there:1/v1/", " sk-1\n"), ("http://there:2", "")):
        monkeypatch.setenv("BURNISH_BASE_URL", base_url)
        monkeypatch.setenv("BURNISH_API_KEY", key)
        make_client("sync", transport=httpx.MockTransport(answers)).assistants.list()
    make_client("sync", "http://here/", "sk-2", transport=httpx.MockTransport(answers)).assistants.list()
    told = [(str(request.url), request.headers.get("authorization")) for request in asked]
    assert told == [
        ("http://there:1/v1/assistants", "Bearer sk-1"),
        ("http://there:2/v1/assistants", None),
        ("http://here/v1/assistants", "Bearer sk-2"),
    ]
    with pytest.raises(ValueError, match="with its scheme"):
        make_client("sync", "burnish:8400")
    with pytest.raises(ValueError, match="no key has") as raised:
        make_client("sync", "http://here", "sk-1…")
    assert "sk-1" not in str(raised.value)
