"""A line in the log for every request, with its id; never with what people wrote (feedback.logs sets the form)."""

import re
import secrets
import time

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

_log = structlog.get_logger()
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_RECEIPTS = re.compile(r"rcpt-[^/]*|(?<=/receipt/)[^/]+")


def log_requests(app: ASGIApp) -> ASGIApp:
    """ASGI middleware: a request id on every response, and a line when it has ended."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = given if _GIVEN_ID.fullmatch(given) else f"req-{secrets.token_hex(8)}"
        started = time.perf_counter()
        status = 0

        async def tagged(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await app(scope, receive, tagged)
            finally:
                log = _log.debug if scope["path"].startswith("/health/") else _log.info
                log(
                    "request",
                    method=scope["method"],
                    path=loggable(scope["path"]),
                    status=status,
                    seconds=round(time.perf_counter() - started, 4),
                )

    return middleware


def loggable(path: str) -> str:
    """Without receipts, which are secrets: whoever has one may take the feedback back.

    >>> loggable("/v1/feedback/rcpt-12ab"), loggable("/receipt/RCPT-12ab/take-back"), loggable("/v1/feedback/form")
    ('/v1/feedback/…', '/receipt/…/take-back', '/v1/feedback/form')
    """
    return _RECEIPTS.sub("…", path)
