"""One request's view of the site: who looks, in which language and colours, and how to answer with a page.

Handlers get it as `page`. `signed_in("review")` guards a page for those whose role may do that; every form carries a
token that only our own pages know, checked before any handler (`check_form`), so that none can forget to.
"""

import gzip
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote, urlencode

from litestar import Request, Response
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie, UploadFile
from litestar.handlers.base import BaseRouteHandler
from litestar.types import Guard
from markupsafe import Markup

from feedback.errors import Forbidden, InvalidInput, Unauthenticated
from feedback.keys import Caller
from service.web import visitors
from service.web.site import HEADERS, Site
from service.web.visitors import SESSION_COOKIE, VISITOR_COOKIE, Visitor, known_visitor_id
from service.web.words import LANGUAGES, Words, negotiate

THEMES = {"auto": "As the device", "light": "Light", "dark": "Dark"}
LANGUAGE_COOKIE, THEME_COOKIE, NOTICE_COOKIE = "burnish_language", "burnish_theme", "burnish_notice"
YEAR_SECONDS = 365 * 24 * 3600
_WORTH_COMPRESSING = 1000
_IN_ADDRESSES = "%/?#[]@!$&'()*+,;=:~"
MOST_FIELDS = 2_000
"""Of a form: reading half a million takes seconds, in which nobody else is answered."""
_WHOLE = re.compile("[+-]?[0-9]{1,17}")

AnyRequest = Request[Any, Any, Any]
AnyResponse = Response[Any]


class Page:
    def __init__(self, site: Site, request: AnyRequest, visitor: Visitor | None, visitor_id: str) -> None:
        self.site = site
        self.request = request
        self.visitor = visitor
        self._visitor_id = visitor_id
        self._gave_token = False
        self.words = Words(negotiate(request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", "")))
        theme = request.cookies.get(THEME_COOKIE, "auto")
        self.theme = theme if theme in THEMES else "auto"

    @property
    def someone(self) -> Visitor:
        """Whoever looks. Raises Unauthenticated."""
        if self.visitor is None:
            raise Unauthenticated("Sign in first.")
        return self.visitor

    @property
    def caller(self) -> Caller:
        return self.someone.caller

    def may(self, deed: str) -> bool:
        return self.visitor is not None and self.visitor.caller.may(deed)

    @property
    def form_token(self) -> str:
        self._gave_token = True
        return form_token(self.site, self.request, self._visitor_id, self.visitor)

    @property
    def here(self) -> str:
        """This page's own address, to come back to."""
        query = self.request.url.query
        return self.request.url.path + (f"?{query}" if query else "")

    @property
    def by_htmx(self) -> bool:
        """Whether a part of the page that is shown asks, and not the browser for another page."""
        return "hx-request" in self.request.headers

    def asked(self, name: str) -> str | None:
        """A parameter of the address; None where it is empty."""
        return self.request.query_params.get(name, "").strip() or None

    def with_query(self, **changes: object) -> str:
        """This page with other parameters; None takes one away."""
        given = {name: value for name, value in self.request.query_params.items() if name not in changes}
        asked = {**given, **{name: value for name, value in changes.items() if value not in (None, "")}}
        return self.request.url.path + (f"?{urlencode(asked)}" if asked else "")

    # ── answers ──

    def render(self, template: str, *, status: int = 200, **context: Any) -> AnyResponse:
        html = self.markup(template, **context)
        headers = dict(HEADERS)
        content = html.encode()
        if "gzip" in self.request.headers.get("accept-encoding", "") and len(content) >= _WORTH_COMPRESSING:
            content = gzip.compress(content, 5)
            headers["content-encoding"] = "gzip"
        return self._answer(content, status, headers)

    def markup(self, template: str, **context: Any) -> Markup:
        """A template alone, such as a part of a page that is sent while it grows."""
        made = self.site.templates.get_template(template).render(
            page=self,
            t=self.words,
            languages=LANGUAGES,
            themes=THEMES,
            notice=self._notice(),
            path=quote,
            token=self._hidden_token,
            **context,
        )
        return Markup(made)  # noqa: S704  what a template made is escaped

    def go(self, where: str, notice: str = "", **values: object) -> AnyResponse:
        """See another page, after a deed; `notice` is said there, once."""
        there = quote(where, safe=_IN_ADDRESSES)
        if self.by_htmx:  # which would put the other page into a place of this one
            answer = self._answer(b"", 200, {**HEADERS, "hx-redirect": there})
        else:
            answer = self._answer(b"", 303, {**HEADERS, "location": there})
        if notice:
            told = quote(self.words(notice, **values))[:3000]
            answer.set_cookie(_cookie(self.request, NOTICE_COOKIE, told, max_age=60))
        return answer

    def set_cookie(self, answer: AnyResponse, name: str, value: str, max_age: int | None) -> None:
        answer.set_cookie(_cookie(self.request, name, value, max_age=max_age))

    def _answer(self, content: bytes, status: int, headers: Mapping[str, str]) -> AnyResponse:
        answer: AnyResponse = Response(content, status_code=status, media_type="text/html")
        for name, value in headers.items():
            answer.set_header(name, value)
        if self._gave_token and SESSION_COOKIE not in self.request.cookies and not known_visitor_id(self.request):
            answer.set_cookie(_cookie(self.request, VISITOR_COOKIE, self._visitor_id, max_age=YEAR_SECONDS))
        if NOTICE_COOKIE in self.request.cookies and status < 300:
            answer.set_cookie(_cookie(self.request, NOTICE_COOKIE, "", max_age=0))
        return answer

    def _hidden_token(self) -> Markup:
        return Markup('<input type="hidden" name="form_token" value="{}">').format(self.form_token)

    def _notice(self) -> str:
        return unquote(self.request.cookies.get(NOTICE_COOKIE, ""))[:1000]


async def provide_page(request: AnyRequest, site: Site) -> Page:
    return await page_of(site, request)


async def page_of(site: Site, request: AnyRequest) -> Page:
    """Looked up once a request."""
    known = request.scope["state"].get("page")
    if isinstance(known, Page):
        return known
    visitor_id = known_visitor_id(request) or secrets.token_urlsafe(16)
    page = Page(site, request, await visitors.find(site, request, visitor_id), visitor_id)
    request.scope["state"]["page"] = page
    return page


def page_at_hand(request: AnyRequest) -> Page:
    """For a handler that can't wait: nobody's page, where it wasn't looked up yet."""
    known = request.scope["state"].get("page")
    if isinstance(known, Page):
        return known
    return Page(request.app.state["site"], request, None, known_visitor_id(request) or secrets.token_urlsafe(16))


def signed_in(deed: str, *, everywhere: bool = False) -> Guard:
    """A guard that lets through whoever's role may do `deed`; who needn't sign in may only chat.

    `everywhere`: only with a key that isn't limited to some assistants.
    """

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        request: AnyRequest = Request(connection.scope, connection.receive)
        page = await page_of(connection.app.state["site"], request)
        if not page.someone.signed_in and not page.may(deed):
            raise Unauthenticated("Sign in with a key whose role may do that.")
        page.caller.require(deed)
        if everywhere:
            page.caller.require_everything()

    return guard


async def check_form(request: AnyRequest) -> None:
    """Before each handler: whatever changes something comes from a page of ours. Raises Forbidden."""
    if request.method in ("GET", "HEAD"):
        return
    site = request.app.state["site"]
    page = await page_of(site, request)
    if request.content_type[0] != "multipart/form-data" and (await request.body()).count(b"&") >= MOST_FIELDS:
        raise InvalidInput(f"A form has {MOST_FIELDS} fields at most.")
    given = str((await request.form()).get("form_token", ""))
    if not hmac.compare_digest(given.encode(), page.form_token.encode()):
        raise Forbidden("This form is too old, or not ours: open the page again and send it from there.")


def form_token(site: Site, request: AnyRequest, visitor_id: str, visitor: Visitor | None) -> str:
    """Goes with the browser's session, else with its visitor's cookie: another site can't know either.

    With the person, where a proxy names one: a site beside ours (of the same domain) can plant cookies.
    """
    session = request.cookies.get(SESSION_COOKIE)
    whose = f"session:{session}" if session else f"visitor:{visitor_id}"
    if visitor is not None and visitor.named:
        whose = f"{visitor.user} {whose}"
    return hmac.new(site.secret, f"form:{whose}".encode(), hashlib.sha256).hexdigest()[:40]


def is_secure(request: AnyRequest) -> bool:
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"


def own_path(given: str | None, otherwise: str = "/") -> str:
    """Where to go on to: a path of ours, never another site.

    >>> [own_path(path) for path in ("/console?x=1", "//evil.example", "https://evil.example", "/\\\\evil", None)]
    ['/console?x=1', '/', '/', '/', '/']
    """
    if given is None or not given.startswith("/") or given.startswith("//") or "\\" in given:
        return otherwise
    return given if given.isprintable() else otherwise


def _cookie(request: AnyRequest, name: str, value: str, *, max_age: int | None) -> Cookie:
    return Cookie(
        key=name, value=value, max_age=max_age, path="/", httponly=True, samesite="strict", secure=is_secure(request)
    )


class Form:
    """What a form said: `form.text("note")`; nothing is not there, but empty."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def text(self, name: str) -> str:
        value = self._values.get(name, "")
        return value.replace("\r\n", "\n") if isinstance(value, str) else ""

    def names(self) -> list[str]:
        return list(self._values)

    def given(self, name: str) -> str | None:
        """None where it was left empty."""
        return self.text(name).strip() or None

    def number(self, name: str) -> int | None:
        """A whole one; None where it was left empty. Raises InvalidInput."""
        text = self.given(name)
        if text is None:
            return None
        if not _WHOLE.fullmatch(text):
            raise InvalidInput(f"{name}: '{text[:40]}' is no whole number.", param=name)
        return int(text)

    def ticked(self, name: str) -> bool:
        return bool(self.text(name))

    def file(self, name: str) -> bytes | None:
        """None where none was chosen."""
        value = self._values.get(name)
        return (value.file.read() or None) if isinstance(value, UploadFile) else None

    def all(self, name: str) -> list[str]:
        """Of a choice of several."""
        getall = getattr(self._values, "getall", None)
        found = getall(name, []) if getall else [self._values[name]] if name in self._values else []
        return [value for value in found if isinstance(value, str)]


async def provide_form(request: AnyRequest) -> Form:
    return Form(await request.form())
