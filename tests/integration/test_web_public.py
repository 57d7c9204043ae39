"""What anybody may read: changes and receipts, without signing in; and the widget's way in from other sites."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from burnish_server import Deployment, bearer, deployment, eventually
from freezing import learn, person
from test_web_sessions import sign_in, token_of

from feedback import releases, review
from feedback.models import Evaluation
from feedback.states import ReviewDecision, Role, Side, VerdictWord
from feedback.testing import House

STRANGER = {"host": "burnish.example"}
"""Whoever asks for a name that isn't this machine's must sign in to chat."""
MOST_BYTES = 10_000
ORIGIN = {"origin": "https://shop.example"}
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
