"""Domain errors → HTTP, in OpenAI's shape `{"error": {"message", "type", "param", "code"}}`. One table."""

from collections.abc import Callable
from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from feedback.errors import (
    AdapterRefused,
    BurnishError,
    Conflict,
    EngineUnavailable,
    Forbidden,
    InvalidInput,
    ModelMissing,
    NotFound,
    QueueFull,
    TimedOut,
    TooLarge,
    Unauthenticated,
)
from feedback.logs import whereabouts
from service.requests_log import loggable

AnyRequest = Request[Any, Any, Any]
AnyResponse = Response[Any]

_log = structlog.get_logger()

# error → (status, OpenAI's type); a Conflict is 400, since clients retry 409 by themselves
_TABLE: dict[type[BurnishError], tuple[int, str]] = {
    InvalidInput: (400, "invalid_request_error"),
    Conflict: (400, "invalid_request_error"),
    AdapterRefused: (400, "invalid_request_error"),
    Unauthenticated: (401, "authentication_error"),
    Forbidden: (403, "permission_error"),
    NotFound: (404, "invalid_request_error"),
    TooLarge: (413, "invalid_request_error"),
    QueueFull: (429, "rate_limit_error"),
    EngineUnavailable: (503, "service_unavailable_error"),
    ModelMissing: (503, "service_unavailable_error"),
    TimedOut: (504, "timeout_error"),
}
_RETRY_AFTER_SECONDS = 2
"""After so many a client may try again when the engine isn't there."""


def error_body(error: Exception) -> dict[str, dict[str, str | None]]:
    if isinstance(error, BurnishError):
        kind = _status_and_type(error)[1]
        return {"error": {"message": error.message, "type": kind, "param": error.param, "code": error.code}}
    return {"error": {"message": "Internal error.", "type": "server_error", "param": None, "code": "internal_error"}}


def domain_error(request: AnyRequest, error: BurnishError) -> AnyResponse:
    status = _status_and_type(error)[0]
    return Response(error_body(error), status_code=status, headers=_retry_headers(error, status))


def validation_error(request: AnyRequest, error: ValidationException) -> AnyResponse:
    """A body or parameter out of form: 400 that names the field."""
    if request.method in ("POST", "PUT") and request.headers.get("content-length", "0") == "0":
        return domain_error(
            request, InvalidInput("The request has no body: send a JSON object, `{}` if nothing is to say.")
        )
    first = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
    field, message = str(first.get("key", "")) or None, str(first.get("message", error.detail))
    text = f"{field}: {message}" if field else message
    return domain_error(request, InvalidInput(text, param=field))


def too_deep(request: AnyRequest, error: RecursionError) -> AnyResponse:
    """Nothing here goes down further than what the client sent does."""
    _log.warning("body nested too deeply", path=loggable(request.scope["path"]), **whereabouts(error))
    return domain_error(request, InvalidInput("The body is nested too deeply to be read: send it flatter."))


def http_error(request: AnyRequest, error: HTTPException) -> AnyResponse:
    if error.status_code >= 500:
        return unexpected_error(request, error)
    kind = "invalid_request_error"
    body = {"message": error.detail, "type": kind, "param": None, "code": None}
    return Response({"error": body}, status_code=error.status_code, headers=error.headers)


def unexpected_error(request: AnyRequest, error: Exception) -> AnyResponse:
    _log.error("unexpected error", path=loggable(request.scope["path"]), **whereabouts(error))
    return Response(error_body(error), status_code=500)


def status_of(error: BurnishError) -> int:
    return _status_and_type(error)[0]


def _retry_headers(error: BurnishError, status: int) -> dict[str, str]:
    """When, or whether, clients should send it again: openai-python does so by itself after a 429 or 5xx."""
    if isinstance(error, QueueFull):
        return {"retry-after": str(error.retry_after_seconds)}
    if isinstance(error, TimedOut):
        return {"x-should-retry": "false"}  # it would only take as long again
    return {"retry-after": str(_RETRY_AFTER_SECONDS)} if status == 503 else {}


def _status_and_type(error: BurnishError) -> tuple[int, str]:
    for known in type(error).__mro__:
        if known in _TABLE:
            return _TABLE[known]
    return 500, "server_error"


HANDLERS: dict[int | type[Exception], Callable[[AnyRequest, Any], AnyResponse]] = {
    BurnishError: domain_error,
    ValidationException: validation_error,
    HTTPException: http_error,
    RecursionError: too_deep,
    Exception: unexpected_error,
}
