"""Signing in to the pages, and what keeps others out: cookies, form tokens, roles, names of hosts."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest
from burnish_server import Deployment, deployment
from sqlmodel import select

from feedback import keys
from feedback.columns import now
from feedback.states import Role
from feedback.web_sessions import WebSession


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("pages")) as found:
        yield found.start()


@pytest.fixture
def browser(made: Deployment) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=made.settings.url, timeout=30) as client:
        yield client


def token_of(page: httpx.Response) -> str:
    return page.text.partition('name="form_token" value="')[2].partition('"')[0]


def sign_in(browser: httpx.Client, key: str, next: str = "/console") -> httpx.Response:
    token = token_of(browser.get("/sign-in"))
    return browser.post("/sign-in", data={"form_token": token, "key": key, "next": next})


def test_a_key_opens_a_session_whose_cookie_no_script_and_no_other_site_gets(
    made: Deployment, browser: httpx.Client
) -> None:
    assert browser.get("/console").headers["location"] == "/sign-in?next=%2Fconsole"
    answer = sign_in(browser, made.admin)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert "Overview" in browser.get("/console").text


def test_a_wrong_key_is_told_and_opens_nothing(browser: httpx.Client) -> None:
    answer = sign_in(browser, "sk-burnish-wrong")
    assert answer.status_code == 401
    assert "No such key" in answer.text
    assert browser.get("/console").status_code == 303


def test_signing_in_again_ends_the_session_before(made: Deployment, browser: httpx.Client) -> None:
    sign_in(browser, made.admin)
    first = browser.cookies["burnish_session"]
    sign_in(browser, made.admin)
    assert browser.cookies["burnish_session"] != first
    with httpx.Client(base_url=made.settings.url, cookies={"burnish_session": first}) as thief:
        assert thief.get("/console").status_code == 303


def test_a_planted_session_is_never_adopted(made: Deployment, browser: httpx.Client) -> None:
    browser.cookies.set("burnish_session", "planted")
    sign_in(browser, made.admin)
    assert "planted" not in str(browser.cookies.get("burnish_session", domain="127.0.0.1"))


def test_signing_out_ends_the_session_for_good(made: Deployment, browser: httpx.Client) -> None:
    sign_in(browser, made.admin)
    kept = browser.cookies["burnish_session"]
    answer = browser.post("/sign-out", data={"form_token": token_of(browser.get("/console"))})
    assert answer.status_code == 303
    browser.cookies.set("burnish_session", kept)
    assert browser.get("/console").status_code == 303


def test_a_session_ends_with_its_time_and_with_its_key(made: Deployment, browser: httpx.Client) -> None:
    with made.database.write() as session:
        key, token = keys.create(session, "short-lived", Role.OPERATOR, actor="test")
    sign_in(browser, token)
    with made.database.write() as session:
        mine = session.exec(select(WebSession).where(WebSession.api_key_id == key.id)).one()
        mine.expires_at = now() - timedelta(seconds=1)
    assert browser.get("/console").status_code == 303
    sign_in(browser, token)
    assert browser.get("/console").status_code == 200
    with made.database.write() as session:
        keys.revoke(session, key.id, actor="test")
    assert browser.get("/console").status_code == 303


@pytest.mark.parametrize("token", [None, "", "wrong"])
def test_a_form_without_our_token_changes_nothing(made: Deployment, browser: httpx.Client, token: str | None) -> None:
    sign_in(browser, made.admin)
    answer = browser.post("/sign-out", data={} if token is None else {"form_token": token})
    assert answer.status_code == 403
    assert browser.get("/console").status_code == 200


def test_a_token_of_another_session_is_not_ours(made: Deployment, browser: httpx.Client) -> None:
    stranger = token_of(browser.get("/sign-in"))
    sign_in(browser, made.admin)
    assert browser.post("/sign-out", data={"form_token": stranger}).status_code == 403


def test_a_part_of_a_page_leads_whole_to_the_sign_in_once_a_session_ended(browser: httpx.Client) -> None:
    shown = "http://127.0.0.1/console/a/support/feedback?live=1"
    headers = {"hx-request": "true", "hx-current-url": shown}
    answer = browser.get("/console/a/support/feedback?newer=1", headers=headers)
    assert answer.status_code == 200
    assert unquote(answer.headers["hx-redirect"]) == "/sign-in?next=/console/a/support/feedback?live=1"


def test_a_reviewer_is_not_sent_to_a_chat_that_is_closed_to_them(made: Deployment, browser: httpx.Client) -> None:
    sign_in(browser, made.make_key(Role.REVIEWER))
    page = browser.get("/console")
    assert 'href="/"' not in page.text
    assert 'class="brand" href="/console"' in page.text


def test_roles_see_only_what_is_theirs(made: Deployment, browser: httpx.Client) -> None:
    sign_in(browser, made.make_key(Role.CHAT))
    assert browser.get("/console").status_code == 403
    sign_in(browser, made.make_key(Role.REVIEWER))
    page = browser.get("/console").text
    assert "/console/audit" not in page


def test_pages_let_no_script_in_and_nobody_frame_them(browser: httpx.Client) -> None:
    policy = browser.get("/sign-in").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:8400"}, 200),
        ({"host": "[::1]:8400"}, 200),
        ({"host": "evil.example"}, 303),
        ({"host": "127.0.0.1.evil.example"}, 303),
        ({"x-forwarded-for": "203.0.113.9"}, 303),
        ({"forwarded": "for=203.0.113.9"}, 303),
    ],
)
def test_only_a_browser_on_this_machine_chats_without_signing_in(
    browser: httpx.Client, headers: dict[str, str], status: int
) -> None:
    assert browser.get("/", headers=headers).status_code == status


def test_a_proxy_that_is_trusted_says_who_it_is(tmp_path: Path) -> None:
    with deployment(tmp_path, identity_header="X-Forwarded-Email") as made, httpx.Client(timeout=30) as browser:
        url = made.start().settings.url
        named = {"x-forwarded-email": "ada@example.org"}
        assert "ada@example.org" in browser.get(f"{url}/", headers=named).text
        assert browser.get(f"{url}/").status_code == 303
        assert browser.get(f"{url}/", headers={"x-forwarded-email": "x" * 500}).status_code == 303


def test_a_header_from_a_proxy_that_is_not_trusted_says_nothing(tmp_path: Path) -> None:
    changes = {"identity_header": "X-Forwarded-Email", "trusted_proxies": "10.0.0.0/8"}
    with deployment(tmp_path, **changes) as made, httpx.Client(timeout=30) as browser:
        url = made.start().settings.url
        assert browser.get(f"{url}/", headers={"x-forwarded-email": "ada@example.org"}).status_code == 303


def test_a_token_of_one_named_person_is_nobody_elses_whatever_cookies_are_planted(tmp_path: Path) -> None:
    with deployment(tmp_path, identity_header="X-Forwarded-Email") as made:
        url = made.start().settings.url
        for planted in ({"burnish_visitor": "v" * 22}, {"burnish_session": "nobodys"}):
            with httpx.Client(base_url=url, cookies=planted, timeout=30) as browser:
                stolen = token_of(browser.get("/", headers={"x-forwarded-email": "eve@example.org"}))
                public = token_of(browser.get("/receipt"))
                for token, status in ((stolen, 403), (public, 403)):
                    form = {"form_token": token, "sure": "1"}
                    ada = {"x-forwarded-email": "ada@example.org"}
                    assert browser.post("/own-data/erase", data=form, headers=ada).status_code == status
                mine = token_of(browser.get("/", headers=ada))
                assert browser.post("/own-data/erase", data={"form_token": mine}, headers=ada).status_code == 303


def test_a_key_out_of_a_page_opens_none_and_leaves_no_trace(made: Deployment, browser: httpx.Client) -> None:
    assert sign_in(browser, made.make_key(Role.FEEDBACK)).status_code == 401
    assert "burnish_session" not in browser.cookies


def test_a_form_of_countless_fields_is_turned_away_before_it_is_read(browser: httpx.Client) -> None:
    began = time.perf_counter()
    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert browser.post("/sign-out", content=b"a&" * 1_900_000, headers=kind).status_code == 400
    assert browser.post("/sign-out", content=b"a&" * 1_900_000).status_code in (400, 403)
    assert time.perf_counter() - began < 2


def test_an_address_of_other_letters_can_be_gone_on_to(browser: httpx.Client) -> None:
    answer = browser.get("/preferences", params={"next": "/塔?a=b%20c#d"})
    assert answer.headers["location"] == "/%E5%A1%94?a=b%20c#d"


def test_files_come_by_their_content_and_may_be_kept(browser: httpx.Client) -> None:
    page = browser.get("/sign-in").text
    address = page.partition('rel="stylesheet" href="')[2].partition('"')[0]
    sheet = browser.get(address)
    assert sheet.status_code == 200
    assert "immutable" in sheet.headers["cache-control"]
    assert browser.get(address.replace("/static/", "/static/0")).status_code == 404


def test_the_language_is_the_browsers_unless_one_was_chosen(browser: httpx.Client) -> None:
    assert '<html lang="zh">' in browser.get("/sign-in", headers={"accept-language": "zh-CN,en;q=0.5"}).text
    browser.get("/preferences?language=en&theme=dark&next=/sign-in")
    page = browser.get("/sign-in", headers={"accept-language": "zh-CN"}).text
    assert '<html lang="en" data-theme="dark">' in page


def test_preferences_send_nobody_to_another_site(browser: httpx.Client) -> None:
    assert browser.get("/preferences", params={"next": "//evil.example"}).headers["location"] == "/"
