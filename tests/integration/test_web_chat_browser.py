"""The chat page in Chromium: replies that grow, are stopped, chosen between, corrected; by keyboard alone; for all."""

from collections.abc import Iterator

import pytest
from browsing import axe_violations, open_page
from burnish_server import Deployment, InProcess, deployment
from playwright.sync_api import Browser, Page, expect

from feedback import assistants, guidelines
from service.engines.echo import EchoEngine

pytestmark = pytest.mark.chromium

LONG = "Tell me all of it, slowly: " + " ".join(f"word{number}" for number in range(400))

CUT_THE_FIRST = """
const asked = window.fetch;
window.fetch = async (...all) => {
  const answer = await asked(...all);
  if (!String(all[0]).endsWith("/c")) return answer;
  window.fetch = asked;
  const parts = answer.body.getReader();
  const first = await parts.read();
  return new Response(new ReadableStream({ start(to) { to.enqueue(first.value); to.error(new TypeError("cut")); } }));
};
"""
"""The connection ends after the reply's first part."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("chat")) as found:
        with found.database.write() as session:
            assistant = assistants.get_assistant(session, "support")
            said = {"purpose": "Answers about towers.", "boundaries": ["Never guesses."], "disclaimer": "A machine."}
            guidelines.revise(session, assistant, guidelines.checked(said), actor="test")
            survey = [{"id": "csat", "text": "How was it?", "kind": "csat"}]
            changes = {"collect": {"survey": survey, "survey_after_replies": 2}}
            assistants.set_policies(session, assistant, changes, actor="test")
        service = InProcess(found, EchoEngine(delay_seconds=0.005))
        yield found
        service.stop()


@pytest.fixture
def page(chromium: Browser, made: Deployment) -> Iterator[Page]:
    opened = open_page(chromium, made)
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto("/")
    yield opened
    assert complaints == []
    opened.context.close()


def ask(page: Page, words: str) -> None:
    page.get_by_label("Your message").fill(words)
    page.keyboard.press("Enter")


def test_a_reply_grows_and_can_be_stopped(page: Page) -> None:
    ask(page, LONG)
    expect(page.locator("[data-words]")).to_contain_text("word5 ")
    assert "/c/page-" in page.url
    expect(page.locator(".past a")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.get_by_text("Stopped before its end.")).to_be_visible()
    expect(page.locator(".reply .words")).not_to_contain_text("word399")
    page.reload()
    expect(page.get_by_text("Stopped before its end.")).to_be_visible()


def test_what_is_said_shows_at_once_and_can_be_undone(page: Page) -> None:
    ask(page, "How tall is it?")
    page.get_by_role("button", name="Good answer").click()
    expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="well put").click()
    expect(page.locator(".given .tag")).to_have_text("well put")
    page.get_by_text("Correct it").click()
    page.get_by_label("What it should have said").fill("It is 330 metres tall.")
    page.locator("details[open]").get_by_role("button", name="Send").click()
    expect(page.get_by_text("You corrected it.")).to_be_visible()
    page.get_by_role("button", name="Undo").first.click()
    expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "false")
    expect(page.get_by_text("You corrected it.")).to_be_visible()


def test_two_answers_are_chosen_between_by_a_key(page: Page) -> None:
    ask(page, "Once.")
    page.get_by_role("button", name="Again").click()
    expect(page.get_by_role("button", name="The first is better")).to_be_focused()
    page.keyboard.press("2")
    expect(page.get_by_text("You chose between two answers.")).to_be_visible()
    page.get_by_label("Your message").fill("Two, please.")
    page.get_by_role("button", name="Two answers").click()
    expect(page.locator(".half")).to_have_count(2)
    expect(page.locator(".half").first).not_to_contain_text("support@")


def test_what_failed_to_be_sent_is_not_lost(page: Page) -> None:
    page.route("**/c", lambda route: route.abort())
    ask(page, "Precious words.")
    expect(page.get_by_text("The connection was lost. Send it again.")).to_be_visible()
    expect(page.get_by_label("Your message")).to_have_value("Precious words.")


def test_what_is_refused_is_told_and_not_taken_for_a_lost_connection(page: Page) -> None:
    ask(page, "Once.")
    expect(page.get_by_role("button", name="Good answer")).to_be_visible()
    elsewhere = page.context.new_page()
    elsewhere.goto(f"{page.url}/erase")
    elsewhere.locator("main form button").first.click()
    elsewhere.wait_for_url("**/")
    ask(page, "And again?")
    expect(page.get_by_text("You have no conversation")).to_be_visible()
    expect(page.get_by_label("Your message")).to_have_value("And again?")


def test_a_first_reply_that_was_cut_off_can_be_asked_for_again(page: Page) -> None:
    page.evaluate(CUT_THE_FIRST)
    ask(page, "Tell me.")
    expect(page.get_by_text("The connection was lost. Send it again.")).to_be_visible()
    page.locator("[data-send]").click()
    expect(page.locator(".turn:not(.writing)", has_text="[base] Tell me.").last).to_be_visible()
    expect(page.locator("[data-error]")).to_be_hidden()


def test_what_is_half_written_stays_when_something_else_is_clicked(page: Page) -> None:
    ask(page, "How tall is it?")
    page.get_by_text("Correct it").click()
    page.get_by_label("What it should have said").fill("It is 330")
    page.get_by_role("button", name="Bad answer").click()
    page.get_by_role("button", name="too long").click()
    expect(page.locator(".given .tag")).to_have_text("too long")
    page.get_by_text("Comment", exact=True).click()
    page.get_by_label("Your comment").fill("Hm.")
    page.locator("details[open]", has=page.get_by_label("Your comment")).get_by_role("button", name="Send").click()
    expect(page.get_by_text("You commented.")).to_be_visible()
    expect(page.get_by_label("Your comment")).to_be_hidden()
    expect(page.get_by_label("What it should have said")).to_have_value("It is 330")


def test_a_double_click_sends_once(page: Page) -> None:
    ask(page, "How tall is it?")
    page.get_by_text("Comment", exact=True).click()
    page.get_by_label("Your comment").fill("Twice?")
    page.locator("details[open]").get_by_role("button", name="Send").dblclick()
    expect(page.get_by_text("You commented.")).to_be_visible()
    page.reload()
    expect(page.get_by_text("You commented.")).to_have_count(1)


def test_whoever_stays_anonymous_gets_the_receipt_on_a_page_of_its_own(page: Page) -> None:
    ask(page, "How tall is it?")
    page.get_by_text("Comment", exact=True).click()
    page.get_by_label("Your comment").fill("Guess who.")
    page.locator("details[open]").get_by_label("Anonymously").check()
    page.locator("details[open]").get_by_role("button", name="Send").click()
    page.wait_for_url("**/receipt/rcpt-*")
    expect(page.get_by_role("status").first).to_contain_text("Keep this page’s address")


def test_the_keyboard_alone_is_enough(page: Page) -> None:
    page.keyboard.press("Escape")
    page.get_by_label("Your message").focus()
    page.keyboard.type("How old?")
    page.keyboard.press("Enter")
    expect(page.locator(".said")).to_be_visible()
    for _ in range(60):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.getAttribute('aria-label')") == "Bad answer":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Bad answer")).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize(("language", "theme"), [("en", "light"), ("zh", "dark")])
def test_the_pages_are_accessible(page: Page, language: str, theme: str) -> None:
    page.goto(f"/preferences?language={language}&theme={theme}&next=/")
    assert axe_violations(page) == []
    for words in ("One.", "Two."):
        page.locator("#message").fill(words)
        page.keyboard.press("Enter")
        expect(page.locator(".turn:not(.writing)", has_text=f"[base] {words}")).to_be_visible()
    for details in page.locator("details").all():
        details.evaluate("each => { each.open = true }")
    assert axe_violations(page) == []
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    for address in ("/own-data", f"{page.url.partition('#')[0]}/erase", "/sign-in"):
        page.goto(address)
        assert axe_violations(page) == []
