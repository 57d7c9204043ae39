"""Text that PostgreSQL can't store is the sender's mistake, wherever it stands, on both databases."""

from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest
from burnish_server import bearer
from litestar.testing import TestClient

from feedback.testing import House
from service.app import create_app
from service.engines.base import Delta, GenerationRequest
from service.engines.echo import EchoEngine

CHAT: dict[str, Any] = {"model": "support", "messages": [{"role": "user", "content": "hi"}]}
RATING: dict[str, Any] = {"kind": "rating", "value": 1}
NUL = "a\0b"


class Odd(EchoEngine):
    """Writes the one character that can't be stored; a model's vocabulary has it."""

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        yield Delta(NUL, 1, 1)
        yield Delta("", 1, 1, "stop")


@pytest.fixture
def client(house: House) -> Iterator[TestClient[Any]]:
    app = create_app(house.settings, Odd())
    with TestClient(app, raise_server_exceptions=False) as client:
        client.headers.update(bearer(house.token))
        yield client


def test_nul_characters_are_refused_wherever_they_stand(client: TestClient[Any]) -> None:
    completion_id = client.post("/v1/chat/completions", json=CHAT).json()["id"]
    rating = {**RATING, "completion_id": completion_id}
    answers = [
        client.post("/v1/chat/completions", json={**CHAT, **more})
        for more in (
            {"messages": [{"role": "user", "content": NUL}]},
            {"metadata": {"conversation_id": NUL}},
            {"model": NUL},
            {"model": f"{NUL}@1"},
            {"user": NUL},
        )
    ]
    answers += [
        client.post("/v1/feedback", json={**rating, **more})
        for more in ({"completion_id": NUL}, {"comment": NUL}, {"tags": [NUL]}, {"user": NUL}, {"value": NUL})
    ]
    answers += [
        client.post("/v1/feedback", json=rating, headers={"idempotency-key": NUL}),
        client.post("/v1/assistants/support/promote", json={"version": 0, "reason": NUL}),
        client.post("/v1/assistants/support/runs", json={"reason": NUL}),
        client.get("/v1/feedback/rcpt-a%00b"),
        client.get("/v1/models/a%00b"),
        client.get("/v1/assistants/a%00b/versions"),
        client.get("/v1/assistants/a%00b/feedback"),
        client.post("/v1/feedback/a%00b/review", json={"decision": "approved"}),
        client.post("/v1/runs/a%00b/cancel"),
    ]
    assert {answer.status_code for answer in answers} <= {400, 404}, [(a.status_code, a.text) for a in answers]
    assert all(answer.json()["error"]["message"] for answer in answers)
    assert client.post("/v1/feedback", json=rating).status_code == 201


def test_a_nul_character_that_the_model_writes_is_replaced(client: TestClient[Any]) -> None:
    answer = client.post("/v1/chat/completions", json=CHAT)
    assert answer.json()["choices"][0]["message"]["content"] == "a\ufffdb"
