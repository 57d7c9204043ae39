"""Bodies that are made to hurt are refused at once, in the usual shape."""

import json
import time
from typing import Any

import pytest
from burnish_server import Deployment

HEADERS = {"content-type": "application/json"}
SECONDS = 4.0
"""A refusal takes a tenth of it; describing each wrong item takes many times as long."""


def many(first: str, item: str, last: str, count: int = 500_000) -> str:
    return first + ",".join([item] * count) + last


def fields(first: str, last: str, count: int = 300_000) -> str:
    return first + ",".join(f'"a{number}":1' for number in range(count)) + last


CHAT = '{"model": "support", "messages": '
GIVEN = '{"completion_id": "x", "kind": "comment", '
HELLO = '[{"role": "user", "content": "hi"}], '


@pytest.mark.parametrize(
    ("path", "content", "param"),
    [
        ("chat/completions", many(CHAT + '[{"role": "user", "content": [', "1", "]}]}"), "messages.0.content"),
        ("chat/completions", many(CHAT + "[", '{"content":[1]}', "]}", 200_000), "messages"),
        ("chat/completions", CHAT + many("[", '{"content":[1,1,1,1,1]}', "]}", 1000), "messages.0"),
        ("chat/completions", many(CHAT + HELLO + '"stop": [', "1", "]}"), "stop"),
        ("chat/completions", fields(CHAT + HELLO + '"logit_bias": {', "}}"), "logit_bias"),
        ("feedback", many(GIVEN + '"tags": [', "1", "]}"), "tags"),
        ("feedback", fields(GIVEN, "}"), None),
        ("assistants/support/runs", fields("{", "}"), None),
    ],
)
def test_a_body_full_of_mistakes_is_refused_for_the_first(
    server: Deployment, path: str, content: str, param: str | None
) -> None:
    began = time.monotonic()
    answer = server.http.post(f"/v1/{path}", content=content, headers=HEADERS)
    assert time.monotonic() - began < SECONDS
    error = refusal(answer.status_code, answer.json())
    assert len(error["message"]) < 500
    if param is not None:
        assert error["param"].startswith(param)


def test_an_unknown_field_is_named(server: Deployment) -> None:
    for body in ({"reson": "typo"}, {"reason": "x", "reson": "typo"}):
        answer = server.http.post("/v1/assistants/support/runs", json=body)
        assert "reson" in refusal(answer.status_code, answer.json())["message"]


@pytest.mark.parametrize("depth", [300, 900, 1000, 100_000])
@pytest.mark.parametrize("where", ["the body", "metadata", "a schema", "feedback"])
def test_a_body_nested_too_deeply_is_400(server: Deployment, where: str, depth: int) -> None:
    deep = '{"a":' * depth + "1" + "}" * depth
    path, content = {
        "the body": ("chat/completions", "[" * depth + "]" * depth),
        "metadata": ("chat/completions", CHAT + HELLO + f'"metadata": {deep}}}'),
        "a schema": (
            "chat/completions",
            f'{CHAT}{HELLO}"response_format": {{"type": "json_schema", "json_schema": '
            f'{{"name": "x", "schema": {deep}}}}}}}',
        ),
        "feedback": ("feedback", f'{GIVEN}"value": {deep}}}'),
    }[where]
    answer = server.http.post(f"/v1/{path}", content=content, headers=HEADERS)
    assert answer.status_code < 500
    if depth >= 1000:
        assert "nested" in refusal(answer.status_code, answer.json())["message"]


def refusal(status: int, body: dict[str, Any]) -> dict[str, Any]:
    assert status == 400, json.dumps(body)[:500]
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["type"] == "invalid_request_error"
    error: dict[str, Any] = body["error"]
    return error


@pytest.mark.parametrize("path", ["feedback", "chat/completions", "assistants/support/review/next"])
def test_no_body_at_all_is_told_in_words(server: Deployment, path: str) -> None:
    answer = server.http.post(f"/v1/{path}")
    assert answer.status_code == 400
    assert (
        answer.json()["error"]["message"] == "The request has no body: send a JSON object, `{}` if nothing is to say."
    )
