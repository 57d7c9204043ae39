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
_PREFLIGHT = {
    "access-control-allow-methods": "GET, POST, DELETE",
    "access-control-allow-headers": "authorization, content-type, idempotency-key",
    "access-control-max-age": "7200",
}
Headers = list[tuple[bytes, bytes]]


def answer_other_origins(app: ASGIApp, origins: str) -> ASGIApp:
    """ASGI middleware. `origins`: those that may call, with commas; `*` for all, none if empty."""
    allowed = frozenset(one.strip().rstrip("/").lower() for one in origins.split(",") if one.strip())

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or not _OPEN.fullmatch(scope["path"]):
            await app(scope, receive, send)
            return
        given = dict(scope["headers"])
        leave = _leave(given.get(b"origin", b"").decode("latin-1"), allowed)
        if leave and scope["method"] == "OPTIONS" and b"access-control-request-method" in given:
            headers = [*leave, *((name.encode(), value.encode()) for name, value in _PREFLIGHT.items())]
            await send({"type": "http.response.start", "status": 204, "headers": headers})
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


def _leave(origin: str, allowed: frozenset[str]) -> Headers:
    """The headers that let a page of `origin` read the answer; none if it may not."""
    if not origin or not allowed:
        return []
    if "*" in allowed:
        return [(b"access-control-allow-origin", b"*")]
    vary = (b"vary", b"origin")
    return [(b"access-control-allow-origin", origin.encode("latin-1")), vary] if origin.lower() in allowed else [vary]
