"""Structured logs, one JSON line an event, on stderr. What people wrote never gets in: only who, what, how long."""

import logging
import re
import secrets
import sys
import time

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

_log = structlog.get_logger()
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SECRET_PATHS = re.compile(r"(/v1/feedback/)rcpt-[^/]+")


def configure(level: str) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


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
                _log.info(
                    "request",
                    method=scope["method"],
                    path=_SECRET_PATHS.sub(r"\1…", scope["path"]),
                    status=status,
                    seconds=round(time.perf_counter() - started, 4),
                )

    return middleware
