"""Errors on their way out: one table, OpenAI's shape, and no quoting in the log."""

from typing import Any

import pytest
from litestar import Litestar, get
from litestar.testing import TestClient
from structlog.testing import capture_logs

from feedback import errors
from service.errors import HANDLERS

MARKER = "what-somebody-wrote"
EVERY_ERROR = [found for found in vars(errors).values() if isinstance(found, type) and found is not Exception]


@pytest.mark.parametrize("kind", EVERY_ERROR, ids=lambda kind: kind.__name__)
def test_every_error_of_the_tree_has_a_status_and_the_same_shape(kind: type[errors.BurnishError]) -> None:
    @get("/")
    async def fail() -> None:
        raise kind("It broke.", param="model")

    with TestClient(Litestar([fail], exception_handlers=HANDLERS), raise_server_exceptions=False) as client:
        answer = client.get("/")
    assert answer.json()["error"]["message"] == "It broke."
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.status_code not in (408, 409)  # which clients would send again by themselves
    assert (answer.status_code == 429) == (kind is errors.QueueFull)
    assert ("retry-after" in answer.headers) == (answer.status_code in (429, 503))
    assert ("x-should-retry" in answer.headers) == (kind is errors.TimedOut)


def test_an_unexpected_error_is_logged_by_type_and_place_but_never_quoted() -> None:
    @get("/")
    async def fail() -> None:
        raise ValueError(f"can't store {MARKER}")

    with (
        capture_logs() as lines,
        TestClient(Litestar([fail], exception_handlers=HANDLERS), raise_server_exceptions=False) as client,
    ):
        answer = client.get("/")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    (line,) = [line for line in lines if line["event"] == "unexpected error"]
    assert line["error"] == "ValueError"
    assert "in fail" in line["traceback"]
    assert MARKER not in answer.text + said(lines)


def said(lines: Any) -> str:
    return str(lines)
