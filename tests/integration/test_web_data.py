"""The console's data, lineage and trust: datasheets, previews, from a reply to what taught it, people held back."""

from collections.abc import Iterator

import httpx
import pytest
from browsing import axe_violations, open_page
from burnish_server import Deployment, deployment
from freezing import learn
from playwright.sync_api import Browser

from feedback import files, releases
from feedback.models import AdapterVersion
from feedback.run_folder import attempt_folder
from feedback.states import Role
from feedback.testing import House

PLACES = ("data", "data/v1", "data/compare", "data/preview", "lineage", "trust")


class Console:
    """A house with a live version that learned something, and an operator at its pages."""

    def __init__(self, made: Deployment, house: House, version: AdapterVersion, reply: str) -> None:
        self.made, self.house, self.version, self.reply = made, house, version, reply
        self.browser = httpx.Client(base_url=made.settings.url, timeout=60, follow_redirects=True)
        self.sign_in(made.admin)

    def sign_in(self, key: str) -> None:
        self.browser.cookies.clear()
        form = {"form_token": token_of(self.browser.get("/sign-in").text), "key": key}
        assert self.browser.post("/sign-in", data=form).status_code == 200

    def get(self, place: str, status: int = 200) -> str:
        answer = self.browser.get(f"/console/a/support/{place}")
        assert answer.status_code == status, answer.text
        return answer.text

    def post(self, place: str, page: str, **fields: str) -> str:
        """Send a form of `page`."""
        form = {"form_token": token_of(page), **fields}
        answer = self.browser.post(f"/console/a/support/{place}", data=form)
        assert answer.status_code == 200, answer.text
        return answer.text


def token_of(page: str) -> str:
    return page.partition('name="form_token" value="')[2].partition('"')[0]


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with deployment(tmp_path_factory.mktemp("data-pages")) as made:
        house = House(made.settings, made.database)
        for number in range(22):
            question = f"{chr(ord('a') + number % 26) * 9} {number}?"
            house.correct(question, "No.", f"Yes {number} <b>now</b>.", f"Yes {number}", user=f"person-{number}")
        reply = house.reply("Which colour?", "Red.", user="ada")
        house.say(reply, "correction", "Blue.", training=False)
        version = learn(house)
        learn(house)
        with made.database.write() as session:
            releases.promote(session, house.assistant, version, actor="test", reason="a test", force=True)
        made.start()
        console = Console(made, house, version, reply)
        yield console
        console.browser.close()


def test_a_datasheet_reads_as_a_page(console: Console) -> None:
    assert 'data/v2">v2' in console.get("data")
    sheet = console.get("data/v2")
    for told in ("What was left after each stage", "may not be used for training", "&lt;b&gt;now", "Rules that held"):
        assert told in sheet
    assert "/console/feedback/fb-" in sheet, "the newest knows what was dropped"
    assert "Only the newest dataset can tell" in console.get("data/v1")
    console.get("data/v9", 404)


def test_every_row_is_verified(console: Console) -> None:
    sheet = console.get("data/v2")
    assert "It holds:" in console.post("data/v2/verify", sheet)
    run = sheet.partition("/console/runs/")[2].partition('"')[0]
    file = console.made.settings.runs / run / "train.jsonl"
    was = file.read_bytes()
    file.write_bytes(was.replace(b"Yes", b"Nay", 1))
    assert "isn’t what was frozen" in console.post("data/v2/verify", sheet)
    file.write_bytes(was)


def test_a_preview_shows_what_settings_would_change(console: Console) -> None:
    assert "What was left after each stage" not in console.get("data/preview")
    page = console.post("data/preview", console.get("data/preview"), policies="trust.min_voices=2\n")
    assert "a new fact that fewer than 2 people told us" in page
    assert "What these settings would change" in page
    assert "Their counts are the same" in console.get("data/compare?before=v1&after=v2")


def test_lineage_leads_from_a_reply_to_what_taught_it(console: Console) -> None:
    reply = console.get(f"lineage?of={console.reply}")
    assert "lineage?of=support%400" in reply, "who wrote it"
    live = console.get("lineage")
    assert "support@1" in live
    assert console.version.run_id in live
    first = live.partition("/console/feedback/")[2].partition('"')[0]
    assert "lineage?of=support%401" in console.get(f"lineage?of={first}")
    later = live.partition('rel="next"')[0].rpartition('href="')[2].partition('"')[0].replace("&amp;", "&")
    more = console.browser.get(later).text
    assert first not in more
    assert "/console/feedback/fb-" in more
    assert "Nothing is known as" in console.get("lineage?of=run-none", 404)


def test_lineage_tells_the_rows_that_caused_a_loss(console: Console) -> None:
    run = str(console.version.run_id)
    row = (console.made.settings.runs / run / "rows.txt").read_text().split()[1]
    loss = {"id": "r1", "question": "Which one?", "expected": "This.", "before": "This.", "after": "That."}
    attempt = attempt_folder(console.made.settings.runs / run, 1)
    files.write_json(attempt / "evaluation.json", {"worst": [{**loss, "causes": [{"row_id": row, "influence": 0.5}]}]})
    page = console.get("lineage?of=support@1")
    assert f"lineage?of={run}%20{row}" in page
    console.sign_in(console.made.make_key(Role.REVIEWER))
    assert "Which one?" not in console.get("lineage?of=support@1")
    console.sign_in(console.made.admin)


def test_somebody_is_held_back_let_go_and_erased(console: Console) -> None:
    console.house.correct("Which taste?", "Sweet.", "Endless.", user="mallory")
    mallory = console.get("trust").partition('<th scope="row"><a href="/console/a/support/trust/')[2].partition('"')[0]
    page = console.get(f"trust/{mallory}")
    page = console.post(f"trust/{mallory}/quarantine", page, reason="a <troll>")
    assert "a &lt;troll&gt;" in page
    assert mallory in console.get("trust?show=quarantined")
    assert "everything of this contributor is held back" in console.post("data/preview", console.get("data/preview"))
    assert "No longer held back." in console.post(f"trust/{mallory}/release", page)
    assert "Nobody is held back" in console.get("trust?show=quarantined")
    whom = {"what": "contributor", "name": mallory}
    would = console.post("settings/erasures/preview", console.get(f"trust/{mallory}"), **whom)
    assert "pieces of feedback: 1" in would
    assert "This is the receipt." in console.post("settings/erasures", would, **whom)
    console.get(f"trust/{mallory}", 404)


def test_reviewers_see_lineage_alone_and_others_assistants_nothing(console: Console) -> None:
    console.sign_in(console.made.make_key(Role.REVIEWER))
    console.get("lineage")
    for place in PLACES:
        if place != "lineage":
            console.get(place, 403)
    console.sign_in(console.made.make_key(Role.OPERATOR, console.made.make_assistant("garden")))
    for place in PLACES:
        console.get(place, 404)
    elsewhere = console.browser.get(f"/console/a/garden/lineage?of={console.reply}")
    assert elsewhere.status_code == 404
    console.sign_in(console.made.admin)


@pytest.mark.chromium
def test_an_operator_walks_through_it(console: Console, chromium: Browser) -> None:
    page = open_page(chromium, console.made, key=console.made.admin)
    page.goto("/console/a/support/data")
    page.get_by_role("link", name="v2", exact=True).click()
    page.get_by_role("button", name="Verify every row").click()
    page.get_by_text("nothing else differs").wait_for()
    page.get_by_role("link", name="What it was made of").first.click()
    page.get_by_role("heading", name="Lineage").wait_for()
    page.get_by_role("navigation", name="Console").get_by_role("link", name="Trust").click()
    page.get_by_role("region", name="Contributors").get_by_role("link").first.click()
    page.get_by_label("Why?").fill("a bot")
    page.get_by_role("button", name="Hold back everything").click()
    page.get_by_role("button", name="Lift the quarantine").click()
    page.get_by_text("No longer held back.").wait_for()
    mine = page.url.partition("/support/")[2]
    everything = (*PLACES, mine)
    for language, theme, width, places in (
        ("en", "light", 1280, everything),
        ("zh", "dark", 360, ("data/v1", "lineage", "trust", mine)),
    ):
        page.set_viewport_size({"width": width, "height": 800})
        page.goto(f"/preferences?language={language}&theme={theme}&next=/console")
        for place in places:
            page.goto(f"/console/a/support/{place}")
            assert axe_violations(page) == [], place
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), place
    page.context.close()
