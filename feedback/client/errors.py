"""What can go wrong between an app and Burnish; the message is a sentence that says what to do.

BurnishError
├── NotReached             no answer came, or it broke off: `sent` says whether the request may have arrived
│   └── NoAnswerInTime     not within `timeout_seconds`
├── Unreadable             an answer came, but none that this client knows
└── Refused                Burnish said no: status, type, param, code (as OpenAI's API has them), request_id
    ├── InvalidInput       the request can't be used, or the world changed underneath (code `conflict`)   400
    │   └── TooLarge       it is larger than may be sent                                                  413
    ├── Unauthenticated    no key, or an unknown or revoked one                                           401
    ├── Forbidden          the key's role doesn't allow it                                                403
    ├── NotFound           no such thing, or not visible to this key                                      404
    ├── TooManyRequests    all places are taken: try again after `retry_after_seconds`                    429
    └── ServiceFailed      its own fault                                                                  5xx
        ├── Unavailable    it starts, stops or restarts: try again after `retry_after_seconds`            503
        └── TimedOut       a reply took longer than a request may                                         504

Leaves out whether anything is tried again (retries.py).
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx


class BurnishError(Exception):
    """Base of all."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotReached(BurnishError):
    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class NoAnswerInTime(NotReached):
    pass


class Unreadable(BurnishError):
    pass


class Refused(BurnishError):
    """`param` names the field at fault, `code` is a stable word for programs."""

    usual_status = 400

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        type: str | None = None,
        param: str | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after_seconds: float | None = None,
        should_retry: bool = True,
    ) -> None:
        super().__init__(message)
        self.status = status or self.usual_status
        self.type = type
        self.param = param
        self.code = code
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds
        self.should_retry = should_retry
        """False: the service says that it would be in vain."""


class InvalidInput(Refused):
    pass


class TooLarge(InvalidInput):
    usual_status = 413


class Unauthenticated(Refused):
    usual_status = 401


class Forbidden(Refused):
    usual_status = 403


class NotFound(Refused):
    usual_status = 404


class TooManyRequests(Refused):
    usual_status = 429


class ServiceFailed(Refused):
    usual_status = 500


class Unavailable(ServiceFailed):
    usual_status = 503


class TimedOut(ServiceFailed):
    usual_status = 504


_BY_STATUS = {one.usual_status: one for one in (TooLarge, Unauthenticated, Forbidden, NotFound, TooManyRequests)} | {
    one.usual_status: one for one in (ServiceFailed, Unavailable, TimedOut)
}
_BY_TYPE: dict[str, type[Refused]] = {
    "authentication_error": Unauthenticated,
    "permission_error": Forbidden,
    "rate_limit_error": TooManyRequests,
    "service_unavailable_error": Unavailable,
    "timeout_error": TimedOut,
    "server_error": ServiceFailed,
}


def of_answer(answer: httpx.Response) -> BurnishError:
    """The error that an answer other than 2xx is; its body has been read."""
    status = answer.status_code
    if status < 400:
        return Unreadable(_other_program(answer))
    known = _BY_STATUS.get(status, ServiceFailed if status >= 500 else InvalidInput)
    try:
        said = json.loads(answer.content)["error"]
        fields = _fields(said)
    except (ValueError, TypeError, KeyError):
        fields = {"message": _other_program(answer)}
    return known(
        **fields,
        status=status,
        request_id=answer.headers.get("x-request-id"),
        retry_after_seconds=retry_after(answer.headers),
        should_retry=answer.headers.get("x-should-retry") != "false",
    )


def of_event(said: Mapping[str, Any], request_id: str | None) -> Refused:
    """The error that ends a stream: its status was sent before.

    >>> error = of_event({"message": "It took too long.", "type": "timeout_error", "code": "request_timeout"}, "req-1")
    >>> type(error).__name__, error.status, error.code, str(error)
    ('TimedOut', 504, 'request_timeout', 'It took too long.')
    """
    known = _BY_TYPE.get(str(said.get("type")), NotFound if said.get("code") == "not_found" else InvalidInput)
    return known(**_fields(said), request_id=request_id)


def of_transport(error: httpx.HTTPError, url: str) -> NotReached:
    """The error that there is no answer; it quotes nothing that was sent."""
    sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    if isinstance(error, httpx.TimeoutException):
        return NoAnswerInTime(f"{url} didn't answer in time ({type(error).__name__}).", sent=sent)
    if not sent:
        return NotReached(f"Nothing answers on {url}: is the service up, and is that its address?", sent=False)
    return NotReached(f"{url} broke off ({type(error).__name__}).")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, of a Retry-After that tells seconds or a time.

    >>> retry_after({"retry-after": "2"}), retry_after({}), retry_after({"retry-after": "soon"})
    (2.0, None, None)
    >>> retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"})  # has passed
    0.0
    """
    told = headers.get("retry-after", "")
    if told.isascii() and told.isdigit():
        return float(told)
    try:
        return max(0.0, (parsedate_to_datetime(told) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _fields(said: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: said.get(name) for name in ("type", "param", "code")}
    return {"message": str(said["message"]), **{name: str(value) for name, value in told.items() if value is not None}}


def _other_program(answer: httpx.Response) -> str:
    host = answer.request.url.copy_with(path="/", query=None)
    return f"{host} answers {answer.status_code}, but not as Burnish does: is another program there, or in between?"
