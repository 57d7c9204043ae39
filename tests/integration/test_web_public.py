"""What anybody may read: changes and receipts, without signing in; and the widget's way in from other sites."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from browsing import DEADLINE_MILLISECONDS, axe_violations, open_page
from burnish_server import Deployment, bearer, deployment, eventually
from freezing import learn, person
from playwright.sync_api import Browser, expect
from sqlmodel import col, select
from test_web_sessions import sign_in, token_of

from feedback import releases, review
from feedback.models import Evaluation, Feedback
from feedback.states import FeedbackStatus, ReviewDecision, Role, Side, VerdictWord
from feedback.testing import House

STRANGER = {"host": "burnish.example"}
"""Whoever asks for a name that isn't this machine's must sign in to chat."""
ROOT = Path(__file__).parents[2]
MOST_BYTES = 10_000
ORIGIN = {"origin": "https://shop.example"}
SURVEY = [{"id": "csat", "text": "How did it go?", "kind": "csat"}, {"id": "why", "text": "Why?", "kind": "text"}]
CALLS = ["/v1/feedback", "/v1/feedback/form?completion_id=chatcmpl-1", "/v1/feedback/rcpt-1"]


@dataclass
class Told:
    """A deployment in which something was learned, and the receipts of those who said it."""

    made: Deployment
    house: House
    taught: str
    edited: str
    declined: str
    reported: str


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    with deployment(tmp_path_factory.mktemp("public")) as made:
        made.make_assistant("open")
        made.make_assistant("garden")
        house = House(made.settings, made.database, "open", public={"changes": True})
        taught = house.correct("Which colour is the Ada lamp?", "Red.", "Blue.", user=person(house, Side.TRAIN))
        edited = house.correct("How big is the Bode lamp?", "Tall.", "Smal.", user=person(house, Side.TRAIN, 1))
        declined = house.correct("Who made the Cyd lamp?", "Me.", "You.", user=person(house, Side.TRAIN, 2))
        reported = house.say(house.reply("Who are you?", "A thief."), "report", "abuse", user="dan")
        with made.database.write() as session:
            words = {"content": "Small."}
            of = review.get_feedback
            review.decide(session, of(session, edited.id), ReviewDecision.EDITED, edited=words, actor="test")
            review.decide(session, of(session, declined.id), ReviewDecision.REJECTED, note="We did.", actor="test")
            review.decide(session, of(session, reported.id), ReviewDecision.APPROVED, note="Sorry!", actor="test")
        version = learn(house)
        with made.database.write() as session:
            found = {"recall": {"candidate": 0.62, "baseline": 0.1}, "rows_with_key_facts": 80}
            base = releases.live(session, house.assistant).version
            judged = {"verdict": VerdictWord.PROMOTE, "statistics": found, "baseline_id": base.id}
            session.add(Evaluation(run_id=str(version.run_id), candidate_id=version.id, **judged))
        for deed in ("promote", "roll_back", "promote"):
            with made.database.write() as session:
                how: dict[str, Any] = {"actor": "test", "reason": f"To {deed} & see."}
                if deed == "promote":
                    how |= {"version": version, "force": True}
                getattr(releases, deed)(session, house.reload(), **how)
        yield Told(made.start(), house, taught.receipt, edited.receipt, declined.receipt, reported.receipt)


@pytest.fixture
def made(told: Told) -> Deployment:
    return told.made


@pytest.fixture
def browser(made: Deployment) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=made.settings.url, timeout=30) as client:
        yield client


# ── what changed ─────────────────────────────────────────────────────────────────────────────────────────────


def test_strangers_read_what_changed_only_where_the_policy_says_so(browser: httpx.Client) -> None:
    page = browser.get("/changes", headers=STRANGER)
    assert page.status_code == 200
    assert "/changes/open" in page.text
    assert not {"support", "garden"} & set(re.findall(r"\w+", page.text))
    assert [one["name"] for one in browser.get("/v1/changes").json()["data"]] == ["open"]
    hidden, missing = (browser.get(f"/changes/{name}", headers=STRANGER) for name in ("garden", "nobody"))
    assert hidden.status_code == missing.status_code == 404
    assert hidden.text.replace("garden", "nobody") == missing.text
    answers = [browser.get(f"/v1/changes/{name}") for name in ("garden", "nobody", "base")]
    assert [one.status_code for one in answers] == [404] * 3
    assert len({one.text for one in answers}) == 1


def test_whoever_uses_an_assistant_reads_what_changed_in_it(made: Deployment, browser: httpx.Client) -> None:
    assert "only for those who use it" in browser.get("/changes").text  # at this machine
    assert browser.get("/changes/garden").status_code == 200
    sign_in(browser, made.make_key(Role.CHAT, "support"))
    signed_in = {**STRANGER, "cookie": f"burnish_session={browser.cookies['burnish_session']}"}
    found = {name: browser.get(f"/changes/{name}", headers=signed_in).status_code for name in ("support", "garden")}
    assert found == {"support": 200, "garden": 404}
    assert browser.get("/changes/base").status_code == 404


def test_it_tells_from_how_many_and_how_well_in_both_languages(browser: httpx.Client) -> None:
    page = browser.get("/changes/open", headers=STRANGER).text
    assert "open@1 serves again" in page
    assert "It learned from 2 corrections; 2 people said what it learned from" in page
    assert "Of 80 corrections that it never saw it now gets 62% right, 10% before." in page
    assert "To roll_back &amp; see." in page
    chinese = browser.get("/changes/open", headers={**STRANGER, "accept-language": "zh"}).text
    assert "它学习了 2 条更正；2 个人提供了" in chinese
    assert "现在答对 62%，之前为 10%" in chinese
    assert "Red" not in page


def test_it_goes_on_page_by_page(made: Deployment, browser: httpx.Client) -> None:
    whole = browser.get("/v1/changes/open").json()["data"]
    assert [one["version"] for one in whole] == ["open@1", "open@0", "open@1", "open@0"]
    first = browser.get("/v1/changes/open?limit=3").json()
    assert (first["data"], first["has_more"]) == (whole[:3], True)
    rest = browser.get("/v1/changes/open", params={"after": first["last_id"]}).json()
    assert (rest["data"], rest["has_more"]) == (whole[3:], False)
    assert made.http.get("/v1/assistants/open/changelog?limit=3").json() == first
    assert browser.get("/v1/changes/open?after=17").status_code == 404


def test_a_feed_reader_gets_it_as_atom(browser: httpx.Client) -> None:
    answer = browser.get("/changes/open.atom", headers=STRANGER)
    assert answer.headers["content-type"].startswith("application/atom+xml")
    feed = ElementTree.fromstring(answer.content)
    name = "{http://www.w3.org/2005/Atom}"
    entries = feed.findall(f"{name}entry")
    assert [one.findtext(f"{name}title") for one in entries][:2] == ["open@1 serves again", "open@0 serves again"]
    assert entries[1].findtext(f"{name}content") == "To roll_back & see."
    assert str(feed.findtext(f"{name}id")).endswith("://burnish.example/changes/open")
    assert browser.get("/changes/garden.atom", headers=STRANGER).status_code == 404


# ── receipts ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_receipt_tells_step_by_step_what_became_of_it(told: Told, browser: httpx.Client) -> None:
    steps = browser.get(f"/v1/feedback/{told.taught}").json()["steps"]
    assert [one["says"] for one in steps] == [
        "We received it.",
        "It went into dataset v1, to be learned from.",
        "open@1 learned from it.",
        "open@1 was found to be better than the one before.",
        "open@1 began to answer everybody.",
        "Another version took the place of open@1.",
        "open@1 began to answer everybody.",
    ]
    assert [one["at"] for one in steps] == sorted(one["at"] for one in steps)
    page = browser.get(f"/receipt/{told.taught}", headers=STRANGER)
    assert all(one["says"] in page.text for one in steps)
    assert "Learned by open@1, which has been answering since" in page.text
    assert page.headers["referrer-policy"] == "no-referrer"
    chinese = browser.get(f"/receipt/{told.taught}", headers={**STRANGER, "accept-language": "zh"}).text
    assert "open@1 已从中学习，并从" in chinese
    assert "已进入数据集 v1，用于学习。" in chinese


def test_a_receipt_has_the_reviewers_word(told: Told, browser: httpx.Client) -> None:
    assert "Not learned from: We did." in browser.get(f"/receipt/{told.declined}").text
    assert "A person approved it, in mended words." in browser.get(f"/receipt/{told.edited}").text
    reported = browser.get(f"/receipt/{told.reported}").text
    assert "A person looked into your report." in reported
    assert '<p class="quote">Sorry!</p>' in reported


def test_a_receipt_is_looked_up_by_pasting_it_or_its_address(told: Told, browser: httpx.Client) -> None:
    token = token_of(browser.get("/receipt", headers=STRANGER))
    for given in (told.taught, f" https://burnish.example/receipt/{told.taught}?x "):
        found = browser.post("/receipt", data={"form_token": token, "receipt": given})
        assert (found.status_code, found.headers["location"]) == (303, f"/receipt/{told.taught}")
    wrong = browser.post("/receipt", data={"form_token": token, "receipt": "<b>fb-1</b>"})
    assert wrong.status_code == 400
    assert "That is no receipt" in wrong.text
    assert "<b>" not in wrong.text
    assert browser.post("/receipt", data={"receipt": told.taught}).status_code == 403


def test_an_unknown_receipt_is_of_nothing(browser: httpx.Client) -> None:
    for address in ("/receipt/rcpt-none", "/receipt/rcpt-none/take-back", "/receipt/rcpt-a%00b", "/receipt/%2e%2e"):
        answer = browser.get(address)
        assert (answer.status_code, "Nothing is here" in answer.text) == (404, True), address
        assert answer.headers["referrer-policy"] == "no-referrer"


def test_feedback_is_taken_back_after_a_page_that_says_what_that_means(told: Told, browser: httpx.Client) -> None:
    house = House(told.made.settings, told.made.database, "support")
    given = house.correct("Which shape?", "Round.", "Square.", user=person(house, Side.TRAIN))
    learn(house)
    address = f"/receipt/{given.receipt}/take-back"
    asked = browser.get(address)
    assert "It is taken out of the data that was made of it: v1." in asked.text
    assert "support@1, which learned from it or was judged by it, is marked" in asked.text
    assert "A new version is trained without it." in asked.text
    assert browser.post(address).status_code == 403
    with told.made.database.read() as session:
        assert review.get_feedback(session, given.id).id
    done = browser.post(address, data={"form_token": token_of(asked)})
    assert (done.status_code, done.headers["location"]) == (303, f"/receipt/{given.receipt}")
    left = browser.get(f"/receipt/{given.receipt}")
    assert left.status_code == 200
    assert "Your feedback is gone" in left.text
    assert "You have taken it back." in left.text
    assert re.search(r"er-[0-9a-f]{24}", left.text)
    assert browser.get(f"/v1/feedback/{given.receipt}").status_code == 404
    assert browser.post(address, data={"form_token": token_of(asked)}).status_code == 303  # again tells the same


def test_no_log_line_has_a_receipt(told: Told, browser: httpx.Client) -> None:
    browser.get(f"/receipt/{told.taught}")
    browser.get(f"/receipt/{told.taught.upper()}/take-back")
    paths = {"/receipt/…", "/receipt/…/take-back"}
    eventually(lambda: paths <= {line.get("path") for line in told.made.log_lines()}, "the requests are logged")
    assert "rcpt-" not in told.made.log.read_text().lower()


# ── the widget's way in ──────────────────────────────────────────────────────────────────────────────────────


def preflight(browser: httpx.Client, path: str, method: str = "POST") -> httpx.Response:
    asks = {"access-control-request-method": method, "access-control-request-headers": "authorization,content-type"}
    return browser.options(path, headers={**ORIGIN, **asks})


@pytest.mark.parametrize("path", CALLS)
def test_pages_elsewhere_may_call_what_the_widget_calls(made: Deployment, browser: httpx.Client, path: str) -> None:
    allowed = preflight(browser, path)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (204, "*")
    assert {"authorization", "content-type", "idempotency-key"} == set(
        allowed.headers["access-control-allow-headers"].split(", ")
    )
    assert "access-control-allow-credentials" not in allowed.headers
    refused = browser.get(path, headers=ORIGIN)  # an error can be read as well
    assert refused.status_code in (401, 404, 405)
    assert refused.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-origin" not in browser.get(path).headers


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/feedback/fb-1/review", "/v1/models", "/v1/feedbacks", "/"]
)
def test_pages_elsewhere_may_call_nothing_else(made: Deployment, browser: httpx.Client, path: str) -> None:
    headers = {**ORIGIN, **bearer(made.admin)}
    for answer in (preflight(browser, path), browser.get(path, headers=headers)):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_only_answers_to_a_key_for_pages_can_be_read_there(told: Told, browser: httpx.Client) -> None:
    completion = told.house.reply("How are you?", "Fine.")
    for role, readable in ((Role.FEEDBACK, True), (Role.CHAT, False), (Role.ADMIN, False)):
        headers = {**ORIGIN, **bearer(told.made.make_key(role))}
        body = {"completion_id": completion, "kind": "rating", "value": 1}
        for answer in (
            browser.post("/v1/feedback", json=body, headers=headers),
            browser.get("/v1/feedback/form", params={"completion_id": completion}, headers=headers),
        ):
            assert answer.status_code in (200, 201)
            assert ("access-control-allow-origin" in answer.headers) == readable


def test_the_widget_is_small_has_an_address_that_stays_and_may_be_loaded_anywhere(browser: httpx.Client) -> None:
    widget = browser.get("/widget.js", headers=ORIGIN)
    assert len(widget.content) < MOST_BYTES
    assert "innerHTML" not in widget.text
    assert widget.headers["content-type"].startswith("text/javascript")
    assert widget.headers["access-control-allow-origin"] == "*"
    assert widget.headers["cross-origin-resource-policy"] == "cross-origin"
    again = browser.get("/widget.js", headers={"if-none-match": widget.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


# ── in a browser ─────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def another_site(page: str) -> Iterator[str]:
    """A site of somebody else's that serves `page`; yields its address."""

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def kinds_said_of(told: Told, completion: str) -> list[str]:
    (reply,) = told.made.replies(completion)
    with told.made.database.read() as session:
        said = session.exec(select(Feedback).where(Feedback.message_id == reply.id).order_by(col(Feedback.id))).all()
    return [one.kind for one in said if one.status != FeedbackStatus.REPLACED]


@pytest.mark.chromium
def test_the_widget_takes_feedback_on_a_strict_page_of_another_site(chromium: Browser, told: Told) -> None:
    asks = {"tags": ["too long", "warm"], "survey_after_replies": 1, "survey": SURVEY}
    house = House(told.made.settings, told.made.database, "garden", collect=asks)
    first, second = (house.reply(f"What blooms in {month}?", "Roses.", user=month) for month in ("May", "June"))
    key = told.made.make_key(Role.FEEDBACK, "garden")
    example = (ROOT / "deploy" / "widget" / "example.html").read_text("utf-8")
    example = example.replace("https://burnish.example", told.made.settings.url)
    example = example.replace("sk-burnish-…", key).replace("chatcmpl-…", first)
    context = chromium.new_context(locale="en-GB", color_scheme="light")
    context.set_default_timeout(DEADLINE_MILLISECONDS)
    complaints: list[str] = []
    page = context.new_page()
    page.on("console", lambda said: complaints.append(said.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    with another_site(example) as address:
        page.goto(address)
        page.get_by_role("button", name="Good reply").click()
        expect(page.get_by_role("status")).to_have_text("Thank you.")
        expect(page.get_by_role("button", name="Good reply")).to_have_attribute("aria-pressed", "true")

        page.get_by_role("button", name="Comment").press("Enter")  # goes with the rating
        expect(page.get_by_label("too long")).to_be_focused()
        page.get_by_label("warm").check()
        page.get_by_label("What do you think of it?").fill("<b>Nice</b>")
        assert axe_violations(page) == []
        page.get_by_role("button", name="Send").click()
        expect(page.get_by_role("button", name="Comment")).to_be_focused()
        assert kinds_said_of(told, first) == ["rating"]

        page.get_by_role("button", name="Correction").click()
        page.get_by_label("What is the right reply?").fill("Tulips.")
        page.get_by_role("button", name="Send").click()
        page.get_by_role("button", name="Report").click()
        page.get_by_label("Bias").check()
        page.get_by_label("Stay anonymous").check()
        page.get_by_role("button", name="Send").click()
        page.get_by_role("button", name="Survey").click()
        page.get_by_label("4").check()
        page.get_by_role("button", name="Send").click()
        expect(page.get_by_role("link", name="What became of it?")).to_have_count(4)
        assert kinds_said_of(told, first) == ["rating", "correction", "report", "survey"]

        with context.expect_page() as opened:
            page.get_by_role("link", name="What became of it?").first.click()
        expect(opened.value.get_by_role("heading", name="Your feedback")).to_be_visible()
        assert opened.value.evaluate("document.referrer") == ""
        page.get_by_role("button", name="Take back").nth(1).click()  # the correction
        expect(page.get_by_role("status")).to_have_text("Taken back.")
        assert kinds_said_of(told, first) == ["rating", "report", "survey"]

        # a reply that comes later, in a dark page in Chinese
        page.emulate_media(color_scheme="dark")
        page.evaluate(
            """completion => {
                const place = document.createElement("div");
                place.lang = "zh-CN";
                document.querySelector("main").append(place);
                place.dataset.burnishReply = completion;
            }""",
            second,
        )
        page.get_by_role("button", name="回复得不好").click()
        expect(page.get_by_role("status").last).to_have_text("谢谢。")
        page.get_by_role("button", name="举报").click()
        assert axe_violations(page) == []
        page.keyboard.press("Escape")
        expect(page.get_by_role("button", name="举报")).to_be_focused()
        page.get_by_role("button", name="回复得不好").click()  # pressed again: taken back
        expect(page.get_by_role("status").last).to_have_text("已撤回。")
        assert kinds_said_of(told, second) == []
        page.evaluate("for (const place of document.querySelectorAll('[lang=zh-CN]')) place.dataset.burnishReply = ''")
        expect(page.get_by_role("button", name="举报")).to_have_count(0)
    context.close()
    assert complaints == []


@pytest.mark.chromium
def test_public_pages_walked_in_a_browser(chromium: Browser, told: Told) -> None:
    given = told.house.say(told.house.reply("Why?", "So."), "comment", "Hm.")
    page = open_page(chromium, told.made)
    page.goto("/changes")
    page.get_by_role("link", name="open", exact=True).click()
    expect(page.get_by_role("heading", name="open@1 serves again")).to_be_visible()
    for language, theme in (("en", "dark"), ("zh", "light")):
        for place in ("/changes", "/changes/open", f"/receipt/{told.reported}"):
            page.goto(f"/preferences?language={language}&theme={theme}&next={place}")
            assert axe_violations(page) == [], place
    page.goto("/preferences?language=en&next=/receipt")
    assert axe_violations(page) == []
    page.get_by_label("Receipt").fill(given.receipt)
    page.get_by_role("button", name="Look it up").click()
    page.get_by_role("link", name="Take it back").click()
    assert axe_violations(page) == []
    page.get_by_role("button", name="Take it back for good").click()
    expect(page.get_by_role("heading", name="Your feedback is gone")).to_be_visible()
    assert axe_violations(page) == []
    page.context.close()
