"""Signing in to the pages and out of them, what people prefer to see, and the static files."""

import asyncio
from typing import Any

from litestar import Request, Response, get, post

from feedback import web_sessions
from feedback.errors import NotFound, Unauthenticated
from service.web.page import (
    LANGUAGE_COOKIE,
    THEME_COOKIE,
    THEMES,
    YEAR_SECONDS,
    AnyResponse,
    Form,
    Page,
    own_path,
)
from service.web.site import Site
from service.web.visitors import SESSION_COOKIE
from service.web.words import LANGUAGES

FOR_EVER = "public, max-age=31536000, immutable"


@get("/sign-in", sync_to_thread=False)
def show_sign_in(page: Page) -> AnyResponse:
    return page.render("sign_in.html", next=own_path(page.asked("next")), wrong="")


@post("/sign-in", status_code=200)
async def sign_in(page: Page, form: Form) -> AnyResponse:
    """A new session each time; the one that the browser had before ends."""
    where = own_path(form.given("next"))
    try:
        made = await asyncio.to_thread(_begin, page, form.text("key").strip())
    except Unauthenticated:
        wrong = "No such key, or it was revoked. Keys begin with sk-burnish-."
        return page.render("sign_in.html", status=401, next=where, wrong=wrong)
    if where == "/" and made.caller.may("review"):
        where = "/console"
    answer = page.go(where)
    page.set_cookie(answer, SESSION_COOKIE, made.token, web_sessions.SESSION_DAYS * 24 * 3600)
    return answer


@post("/sign-out", status_code=200)
async def sign_out(page: Page) -> AnyResponse:
    if token := page.request.cookies.get(SESSION_COOKIE):
        await asyncio.to_thread(_end, page, token)
    answer = page.go("/sign-in", "You are signed out.")
    page.set_cookie(answer, SESSION_COOKIE, "", 0)
    return answer


@get("/preferences", sync_to_thread=False)
def set_preferences(page: Page) -> AnyResponse:
    """`?language=zh&next=/console`; a link, since all that it changes is what its own browser sees."""
    asked = page.request.query_params
    answer = page.go(own_path(asked.get("next")))
    if (language := asked.get("language")) in LANGUAGES:
        page.set_cookie(answer, LANGUAGE_COOKIE, language, YEAR_SECONDS)
    if (theme := asked.get("theme")) in THEMES:
        page.set_cookie(answer, THEME_COOKIE, theme, YEAR_SECONDS)
    return answer


@get("/favicon.ico", sync_to_thread=False)
def get_icon(page: Page, site: Site) -> AnyResponse:
    """What browsers ask for beside an answer that is no page of ours, such as a feed."""
    return page.go(site.url_of("icon.svg"))


@get("/static/{digest:str}/{name:str}", sync_to_thread=False)
def get_static(digest: str, name: str, request: Request[Any, Any, Any], site: Site) -> Response[bytes]:
    file = site.static.get(name)
    if file is None or file.digest != digest:
        raise NotFound(f"There is no file {name} of this content.")
    compressed = "gzip" in request.headers.get("accept-encoding", "")
    headers = {"cache-control": FOR_EVER, "vary": "accept-encoding", "x-content-type-options": "nosniff"}
    if compressed:
        headers["content-encoding"] = "gzip"
    return Response(file.compressed if compressed else file.content, media_type=file.media_type, headers=headers)


def _begin(page: Page, key: str) -> web_sessions.SignedIn:
    with page.site.database.write() as session:
        return web_sessions.sign_in(session, key, replaces=page.request.cookies.get(SESSION_COOKIE))


def _end(page: Page, token: str) -> None:
    with page.site.database.write() as session:
        web_sessions.sign_out(session, token)
