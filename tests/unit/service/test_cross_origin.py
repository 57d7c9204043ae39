"""Which sites' pages may call the feedback API from a browser: those that the setting names."""

import asyncio
from typing import Any

import pytest

from service.cross_origin import answer_other_origins


async def fine(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]})
    await send({"type": "http.response.body", "body": b"{}", "more_body": False})


def headers_for(origins: str, origin: str | None, method: str = "GET") -> dict[str, str]:
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    given = [(b"origin", origin.encode())] if origin else []
    if method == "OPTIONS":
        given.append((b"access-control-request-method", b"POST"))
    scope: Any = {"type": "http", "path": "/v1/feedback", "method": method, "headers": given, "state": {}}
    asyncio.run(answer_other_origins(fine, origins)(scope, lambda: None, send))  # type: ignore[arg-type, return-value]
    return {name.decode(): value.decode() for name, value in said[0]["headers"]}


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ("*", "https://shop.example", "*"),
        ("*", "null", "*"),
        ("https://shop.example, https://b.example/", "https://b.example", "https://b.example"),
        ("https://shop.example", "https://shop.example.evil.example", None),
        ("https://shop.example", "http://shop.example", None),
        ("", "https://shop.example", None),
        ("*", None, None),
    ],
)
def test_only_named_origins_may_read_answers(
    origins: str, origin: str | None, allowed: str | None, method: str
) -> None:
    headers = headers_for(origins, origin, method)
    assert headers.get("access-control-allow-origin") == allowed
    assert "access-control-allow-credentials" not in headers


def test_what_depends_on_the_origin_says_so_to_caches() -> None:
    for origin in ("https://shop.example", "https://evil.example"):
        assert headers_for("https://shop.example", origin)["vary"] == "origin"


def test_who_may_not_call_is_told_nothing_by_a_preflight() -> None:
    allowed = headers_for("https://shop.example", "https://shop.example", "OPTIONS")
    refused = headers_for("https://shop.example", "https://evil.example", "OPTIONS")
    assert allowed["access-control-allow-methods"] == "GET, POST, DELETE"
    assert not [name for name in refused if name.startswith("access-control-")]
