"""What pages of other sites may call from a browser: giving feedback and following it, for the widget, and no more.

No cookie is read there, so that `*` gives a site nothing that its server couldn't do: the key or the receipt that a
page sends is all that counts. Answers to a key of another role than `feedback` stay unreadable: such a key isn't for
pages. Litestar's own CORS settings are for a whole application, hence this.
"""

import re

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from feedback.keys import Caller
from feedback.states import Role

_OPEN = re.compile(r"/v1/feedback(/form|/rcpt-[^/]+)?")
_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, POST, DELETE"),
    (b"access-control-allow-headers", b"authorization, content-type, idempotency-key"),
    (b"access-control-max-age", b"7200"),
]


def answer_other_origins(app: ASGIApp, origins: str) -> ASGIApp:
    """ASGI middleware. `origins`: those that may call, with commas; `*` for all, none if empty."""
    allowed = frozenset(one.strip().rstrip("/").lower() for one in origins.split(",") if one.strip())

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or not _OPEN.fullmatch(scope["path"]):
            await app(scope, receive, send)
            return
        given = dict(scope["headers"])
        reader = _reader(given.get(b"origin", b"").decode("latin-1"), allowed)
        leave = [(b"access-control-allow-origin", reader.encode("latin-1"))] if reader else []
        if "*" not in allowed:
            leave.append((b"vary", b"origin"))
        if reader and scope["method"] == "OPTIONS" and b"access-control-request-method" in given:
            await send({"type": "http.response.start", "status": 204, "headers": [*leave, *_PREFLIGHT]})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return

        async def readable(message: Message) -> None:
            if message["type"] == "http.response.start":
                caller = scope["state"].get("caller")
                if not isinstance(caller, Caller) or caller.role == Role.FEEDBACK:
                    message["headers"] = [*message["headers"], *leave]
            await send(message)

        await app(scope, receive, readable)

    return middleware


def _reader(origin: str, allowed: frozenset[str]) -> str:
    """Whose pages may read the answer.

    >>> some = frozenset({"https://shop.example"})
    >>> _reader("https://shop.example", some), _reader("https://evil.example", some), _reader("null", frozenset("*"))
    ('https://shop.example', '', '*')
    """
    if not origin or not allowed:
        return ""
    return "*" if "*" in allowed else origin if origin.lower() in allowed else ""
