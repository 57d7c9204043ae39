"""What goes wrong on a page, said on a page: the same errors and statuses as under `/v1`, in words for people.

Litestar's handlers of errors can't wait, so that they make do with the page that was looked up before the error.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

from litestar import Response
from litestar.exceptions import HTTPException, NotFoundException, ValidationException

from feedback.errors import BurnishError, Unauthenticated
from service.errors import error_body, status_of, unexpected_error
from service.web.events import MEDIA_TYPE, event
from service.web.page import AnyRequest, AnyResponse, Page, own_path, page_at_hand

Handler = Callable[[AnyRequest, Any], Any]


def domain_error(request: AnyRequest, error: BurnishError) -> AnyResponse:
    page = page_at_hand(request)
    if isinstance(error, Unauthenticated) and request.method == "GET":
        return page.go(f"/sign-in?{urlencode({'next': _shown_page(page)})}")
    return _tell(page, status_of(error), error.message)


def _tell(page: Page, status: int, message: str) -> AnyResponse:
    """On a page of its own; to our scripts, for the place that each page has for it, so that what was typed stays."""
    if MEDIA_TYPE in page.request.headers.get("accept", ""):
        return Response(event("failed", message=page.words(message)), media_type=MEDIA_TYPE, status_code=status)
    if not page.by_htmx:
        return page.render("error.html", status=status, message=message)
    answer = page.render("error_part.html", status=status, message=message)
    answer.set_header("hx-retarget", "#problem")
    answer.set_header("hx-reswap", "innerHTML show:top")
    answer.set_header("hx-reselect", ".error")
    return answer


def _shown_page(page: Page) -> str:
    """The page that asks, whole."""
    if not page.by_htmx:
        return page.here
    shown = urlsplit(page.request.headers.get("hx-current-url", ""))
    return own_path(shown._replace(scheme="", netloc="", fragment="").geturl())


def http_error(request: AnyRequest, error: HTTPException) -> AnyResponse:
    page = page_at_hand(request)
    if isinstance(error, ValidationException):
        wrong = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
        message = f"{wrong.get('key', '')}: {wrong.get('message', error.detail)}".lstrip(": ")
        return _tell(page, 400, message)
    if isinstance(error, NotFoundException):
        return _tell(page, 404, "There is no such page.")
    if error.status_code >= 500:
        return unexpected(request, error)
    return _tell(page, error.status_code, error.detail)


def unexpected(request: AnyRequest, error: Exception) -> AnyResponse:
    unexpected_error(request, error)  # logs it
    page = page_at_hand(request)
    return _tell(page, 500, str(error_body(error)["error"]["message"]))


HANDLERS: dict[int | type[Exception], Handler] = {
    BurnishError: domain_error,
    HTTPException: http_error,
    Exception: unexpected,
}
