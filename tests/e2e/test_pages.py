"""Every page there is, in Chromium: accessible, small, readable without a script, and deaf to what people wrote."""

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from browsing import axe_violations, open_page
from burnish_server import Deployment, deployment
from payloads import PAYLOADS
from playwright.sync_api import Browser, Page
from populated import Populated, populate

from feedback.testing import House

pytestmark = pytest.mark.chromium

MOST_BYTES = 100 * 1024
"""Of a page with all that it needs, compressed."""
OF_A_KIND = 1
"""Pages that differ in nothing but whose they are: so many of them are looked at."""
IDS = re.compile(r"(?:fb|case|run|rcpt|er|wh|page|chatcmpl|cmp)-[\w-]+|%40\d+|@\d+|[0-9a-f]{16,}|\b\d+\b")
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
NOT_PAGES = ("/preferences", "/static/", "/v1/", "/own-data/export", "/schema")
GUARD = """
window.blocked = [];
document.addEventListener("securitypolicyviolation", (event) => window.blocked.push(event.blockedURI + event.sample));
"""
MARKUP = """
() => [...document.querySelectorAll("*")].flatMap((element) => [
  ...[...element.attributes].filter(({ name }) => /^(on|hx-on|srcdoc$)/.test(name)),
  ...element.matches("iframe, object, embed, base, img, video, math, style") ? [element] : [],
  ...element.matches("script:not([src^='/static/'])") ? [element] : [],
  ...element.matches("[href^='javascript' i], [action^='javascript' i], link:not([href^='/'])") ? [element] : [],
]).map((found) => (found.outerHTML || `${found.name}=${found.value}`).slice(0, 200))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("pages")) as found:
        yield found


@pytest.fixture(scope="module")
def populated(made: Deployment) -> Populated:
    known = populate(made, lambda words: words)
    made.start()
    return known


def starts(known: Populated) -> list[str]:
    """Pages that lead to all others."""
    return ["/", "/own-data", "/changes", f"/receipt/{known.receipt}", "/console"]


def crawl(page: Page, known: Populated) -> Iterator[str]:
    """Each page that links lead to, opened; of those that differ in ids alone a few."""
    waiting, seen, kinds = list(starts(known)), set[str](), dict[str, int]()
    while waiting:
        address = waiting.pop(0)
        kind = IDS.sub("*", urlsplit(address).path) + "?" + ",".join(re.findall(r"(\w+)=", urlsplit(address).query))
        if address in seen or kinds.get(kind, 0) >= OF_A_KIND or address.startswith(NOT_PAGES):
            continue
        seen.add(address)
        kinds[kind] = kinds.get(kind, 0) + 1
        answer = page.goto(address)
        assert answer is not None
        assert answer.status == 200, f"{address}: {answer.status}"
        if "text/html" not in answer.headers["content-type"]:
            continue
        yield address
        links = page.eval_on_selector_all("a[href]:not([download])", "all => all.map(a => a.href)")
        here = urlsplit(page.url)
        waiting += [
            urlsplit(link)._replace(scheme="", netloc="", fragment="").geturl()
            for link in links
            if urlsplit(link).netloc == here.netloc and not link.endswith("/report")  # a run's own, stored
        ]


def test_every_page_is_accessible_small_and_reads_without_a_script(
    chromium: Browser, made: Deployment, populated: Populated
) -> None:
    house = House(made.settings, made.database, populated.name)
    house.say(conversation(house, "page-1", ["How tall is it?", "It is **12 m** tall."]), "rating", 1)
    page = open_page(chromium, made, key=house.token)
    other = open_page(chromium, made, key=house.token, locale="zh-CN", has_touch=True)
    plain = open_page(chromium, made, key=house.token, java_script_enabled=False)
    complaints: list[str] = []
    page.on("response", lambda had: complaints.append(f"{had.status} {had.url}") if had.status >= 400 else None)
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    wrong: dict[str, list[str]] = {}
    addresses = []
    for address in crawl(page, populated):
        addresses.append(address)
        found = [*unfit(page, "en"), *complaints]
        complaints.clear()
        other.goto(address)
        other.set_viewport_size({"width": 380, "height": 800})
        found += unfit(other, "zh, on a phone")
        if other.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
            found.append("wider than a phone")
        plain.goto(address)
        found += [] if said(plain) == said(page) else ["says something else without a script"]
        weight = size(made, page, address)
        found += [f"{weight} bytes"] if weight > MOST_BYTES else []
        if found:
            wrong[address] = found
    for one in (page, other, plain):
        one.context.close()
    assert wrong == {}
    assert len(addresses) > 60, addresses
    assert {"/c/page-1", f"/receipt/{populated.receipt}"} <= set(addresses)
    print(f"{len(addresses)} pages: {addresses}")


def unfit(page: Page, where: str) -> list[str]:
    """What keeps people out, in either theme, with all opened that is folded."""
    found = []
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
    for theme in THEMES:
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # colours fade for those who like motion
        found += [f"{where}, {theme}: {one}" for one in axe_violations(page)]
    return found


def said(page: Page) -> str:
    """What a page says; times aside, which a script puts into the reader's own."""
    words: str = page.eval_on_selector(
        "main", "main => [...main.querySelectorAll('h1, h2, th, td, dt, dd')].map(e => e.tagName).join(' ')"
    )
    return page.locator("h1").first.inner_text() + words


def size(made: Deployment, page: Page, address: str) -> int:
    cookies = {one["name"]: one["value"] for one in page.context.cookies()}
    files = page.eval_on_selector_all("script[src], link[href]", "all => all.map(one => one.src || one.href)")
    weight = 0
    with httpx.Client(base_url=made.settings.url, cookies=cookies, headers={"accept-encoding": "gzip"}) as client:
        for each in [address, *files]:
            with client.stream("GET", urljoin(made.settings.url, each)) as answer:
                weight += sum(len(part) for part in answer.iter_raw())
    return weight


def test_what_people_write_runs_nowhere(chromium: Browser, tmp_path: Path) -> None:
    """A hundred payloads, in every place that takes words, on every page that shows them."""
    payloads = itertools.cycle(PAYLOADS)
    with deployment(tmp_path) as made:
        known = populate(made, lambda words: next(payloads))
        house = House(made.settings, made.database, known.name)
        starts = range(0, len(PAYLOADS), 25)
        for start in starts:
            conversation(house, f"page-{start}", PAYLOADS[start : start + 25])
        made.start()
        page = open_page(chromium, made, key=house.token)
        page.add_init_script(GUARD)
        strangers: list[str] = []
        page.on("dialog", lambda dialog: strangers.append(f"dialog {dialog.message}"))
        page.on("request", lambda asked: strangers.append(asked.url) if not is_ours(made, asked.url) else None)
        wrong: dict[str, object] = {}
        for payload in PAYLOADS[::12]:
            chat(page, payload)
            wrong |= told(payload, harm(page))
        for address in [*(f"/c/page-{start}" for start in starts), *crawl(page, known)]:
            page.goto(address)
            wrong |= told(address, harm(page))
        assert wrong == {}
        assert strangers == []
        page.context.close()


def conversation(house: House, label: str, words: Sequence[str]) -> str:
    """One, at `/c/{label}`, in which one side says these and the other says each again; returns the last reply's id."""
    history: list[dict[str, str]] = []
    replied = ""
    for each in words:
        history.append({"role": "user", "content": each})
        replied = house.reply(history, each, external_id=label)
        history.append({"role": "assistant", "content": each})
    return replied


def told(where: str, found: list[str]) -> dict[str, list[str]]:
    return {where: found} if found else {}


def is_ours(made: Deployment, url: str) -> bool:
    return url.startswith(made.settings.url)


def chat(page: Page, words: str) -> None:
    """Say it, and have the echo say it again."""
    if urlsplit(page.url).path != "/":
        page.goto("/")
    page.locator("#message").fill(words)
    page.locator("[data-send]").click()
    page.locator(".turn:not(.writing) .said").first.wait_for()


def harm(page: Page) -> list[str]:
    """What ran, what the policy had to stop, and markup that only words could have become."""
    hit = page.evaluate("window.hit")
    return [*page.evaluate("window.blocked"), *page.evaluate(MARKUP), *([f"window.hit is {hit}"] if hit else [])]
