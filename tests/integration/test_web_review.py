"""The console's feedback, review and reports: read and decided without a script, and quicker with one."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from browsing import axe_violations, open_page
from burnish_server import Deployment, bearer, deployment
from playwright.sync_api import Browser, expect

from feedback import web_sessions
from feedback.states import Role

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("review-pages")) as found:
        yield found.start()


@pytest.fixture
def name(made: Deployment, request: pytest.FixtureRequest) -> str:
    """An assistant of the test's own."""
    return made.make_assistant(request.node.name[5:45].replace("_", "-").replace("[", "-").strip("-]"))


@pytest.fixture
def person(made: Deployment) -> Iterator[Callable[..., "Person"]]:
    people: list[Person] = []

    def come(role: Role = Role.REVIEWER, *names: str) -> Person:
        people.append(Person(made, made.make_key(role, *names)))
        return people[-1]

    yield come
    for one in people:
        one.http.close()


class Person:
    """Somebody who is signed in, with a browser that knows no script."""

    def __init__(self, made: Deployment, key: str) -> None:
        with made.database.write() as session:
            signed_in = web_sessions.sign_in(session, key, replaces=None)
        cookies = {"burnish_session": signed_in.token}
        self.http = httpx.Client(base_url=made.settings.url, cookies=cookies, timeout=30)
        self.key = key

    def look(self, address: str, status: int = 200) -> str:
        answer = self.http.get(address, follow_redirects=True)
        assert answer.status_code == status, answer.text
        return answer.text

    def send(self, address: str, **form: str) -> httpx.Response:
        token = value_of(self.look("/console"), "form_token")
        return self.http.post(address, data={"form_token": token, **form})

    def done(self, address: str, **form: str) -> str:
        """The page that one is sent to after a deed."""
        answer = self.send(address, **form)
        assert answer.status_code == 303, answer.text
        return self.look(answer.headers["location"])


def value_of(page: str, name: str) -> str:
    return page.partition(f'name="{name}" value="')[2].partition('"')[0]


def correct(made: Deployment, name: str, words: str = "It is blue.", question: str = "Which colour?") -> str:
    given = made.give(made.ask(question, model=name)["id"], "correction", {"content": words, "key_facts": ["blue"]})
    return str(given.json()["id"])


# ── what people said ──


def test_everything_is_listed_newest_first_escaped_and_narrowed(made: Deployment, name: str, person: Any) -> None:
    asked = made.ask("Which tent?", model=name)["id"]
    made.give(asked, "comment", EVIL, user="ada")
    made.give(asked, "rating", {"stars": 4}, tags=["warm"], comment="Nice & short.", user="bob")
    page = person().look(f"/console/a/{name}/feedback")
    assert page.index("4 of 5 stars") < page.index("&lt;script&gt;alert(1)&lt;/script&gt;")
    assert EVIL not in page
    assert "Nice &amp; short." in page
    assert "Share of kind ratings by day" in page
    narrowed = person().look(f"/console/a/{name}/feedback?kind=comment&status=&tag=&days=&search=")
    assert "4 of 5 stars" not in narrowed
    assert "&lt;script&gt;" in narrowed
    assert "Nobody has said such a thing yet." in person().look(f"/console/a/{name}/feedback?search=zebra")


def test_older_ones_are_on_the_next_page(made: Deployment, name: str, person: Any) -> None:
    asked = made.ask("Which tent?", model=name)["id"]
    for number in range(51):
        made.give(asked, "comment", f"Word {number}.")
    reviewer = person()
    page = reviewer.look(f"/console/a/{name}/feedback?kind=comment")
    assert "Word 0." not in page
    following = page.rpartition('" rel="next"')[0].rpartition('href="')[2].replace("&amp;", "&")
    page = reviewer.look(following)
    assert "Word 0." in page
    assert "Word 1." not in page
    assert 'rel="next"' not in page


def test_what_is_newer_is_asked_for_again_and_again(made: Deployment, name: str, person: Any) -> None:
    asked, reviewer = made.ask("Which tent?", model=name)["id"], person()
    first = made.give(asked, "comment", "First.").json()
    address = f"/console/a/{name}/feedback/newer"
    assert f"newer_than={first['id']}" in reviewer.look(f"/console/a/{name}/feedback?live=1")
    second = made.give(asked, "comment", "Second.").json()
    part = reviewer.look(f"{address}?kind=comment&newer_than={first['id']}")
    assert "Second." in part
    assert "First." not in part
    assert f"kind=comment&amp;newer_than={second['id']}" in part
    made.anyone.delete(f"/v1/feedback/{second['receipt']}")
    part = reviewer.look(f"{address}?newer_than={second['id']}")  # which is gone
    assert "Second." not in part
    assert f"newer_than={first['id']}" in part


def test_one_is_shown_in_its_conversation(made: Deployment, name: str, person: Any) -> None:
    asked = [{"role": "user", "content": "Which **tent**?"}]
    first = made.ask("", model=name, messages=asked)
    reply = first["choices"][0]["message"]
    made.ask("", model=name, messages=[*asked, reply, {"role": "user", "content": "How heavy?"}])
    given = made.give(first["id"], "correction", "[base] Which small tent?").json()["id"]
    other = made.give(first["id"], "report", "wrong", comment="Not true.").json()["id"]
    page = person().look(f"/console/feedback/{given}")
    assert "<strong>tent</strong>" in page
    assert "<ins>small </ins>" in page
    assert "How heavy?" in page
    assert f"/console/feedback/{other}" in page
    assert f"/console/a/{name}/lineage?of={name}%400" in page
    assert "Not true." in page


def test_people_see_only_what_is_theirs_to_see(made: Deployment, name: str, person: Any) -> None:
    given = correct(made, name)
    places = [f"/console/a/{name}/{place}" for place in ("feedback", "feedback/newer", "review", "cases")]
    for address in [*places, f"/console/a/{name}/review/agreement", f"/console/feedback/{given}"]:
        person(Role.CHAT).look(address, 403)
        person(Role.REVIEWER, "support").look(address, 404)
    stranger = person(Role.REVIEWER, "support")
    assert stranger.send(f"/console/a/{name}/review", id=given, deed="approved").status_code == 404
    person().look(f"/console/a/{name}/feedback?kind=praise", 400)


# ── review ──


def test_one_entry_after_the_other_is_decided_on(made: Deployment, name: str, person: Any) -> None:
    ids = [correct(made, name, question=f"Which colour is {thing}?") for thing in ("A", "B", "C")]
    reviewer, address = person(), f"/console/a/{name}/review?show=unreviewed"
    page = reviewer.look(address)
    assert value_of(page, "id") == ids[0]
    assert "<ins>It </ins>" in page or "<ins>It is blue.</ins>" in page
    other = person()
    assert value_of(other.look(address), "id") == ids[1]  # the first is held
    page = reviewer.done(address, id=ids[0], deed="approved", content="It is blue.", key_facts="blue", note="Thanks.")
    assert "Approved." in page
    assert value_of(page, "id") == ids[2]
    page = reviewer.done(address, id=ids[2], deed="skip")
    assert "That was the last one" in page
    decided = made.http.get(f"/v1/assistants/{name}/feedback/{ids[0]}").json()["reviews"]
    assert [(one["decision"], one["note"]) for one in decided] == [("approved", "Thanks.")]


def test_words_that_cannot_be_saved_are_not_lost(made: Deployment, name: str, person: Any) -> None:
    given, reviewer = correct(made, name), person()
    address = f"/console/a/{name}/review?show=unreviewed"
    answer = reviewer.send(address, id=given, deed="edited", content="It is green.", key_facts="blue", comment="Hm.")
    assert answer.status_code == 400
    assert "Key fact &#39;blue&#39; isn&#39;t in the corrected reply" in answer.text
    assert "It is green.</textarea>" in answer.text
    assert "Hm.</textarea>" in answer.text
    answer = reviewer.send(address, id=given, deed="approved", content="It is green.", key_facts="blue")
    assert "You changed the words" in answer.text
    page = reviewer.done(address, id=given, deed="edited", content="It is green.", key_facts="green\n\n")
    assert "Saved in your words." in page
    (saved,) = made.http.get(f"/v1/assistants/{name}/feedback/{given}").json()["reviews"]
    assert saved["edited"] == {"content": "It is green.", "key_facts": ["green"]}


def test_whoever_comes_too_late_is_told_and_goes_on(made: Deployment, name: str, person: Any) -> None:
    ids = [correct(made, name, question=f"Which colour is {thing}?") for thing in ("A", "B")]
    reviewer, address = person(), f"/console/a/{name}/review?show=unreviewed"
    reviewer.look(address)
    made.http.post(f"/v1/feedback/{ids[0]}/review", json={"decision": "rejected", "final": True})
    page = reviewer.done(address, id=ids[0], deed="approved", content="It is blue.", key_facts="blue")
    assert "has settled this for good" in page
    assert value_of(page, "id") == ids[1]
    gone = "fb-000000000000000000000000"
    assert "It was taken back meanwhile." in reviewer.done(address, id=gone, deed="rejected")
    page = reviewer.done(address, id=ids[1], deed="rejected", final="1")
    assert "may not operate" in page


def test_a_second_opinion_is_given_unseen_and_compared(made: Deployment, name: str, person: Any) -> None:
    given, first, second = correct(made, name), person(), person()
    said = {"id": given, "content": "It is blue.", "key_facts": "blue", "comment": "I am sure."}
    page = first.done(f"/console/a/{name}/review?show=unreviewed", deed="approved", second_opinion="1", **said)
    assert "Somebody else must decide on it too." in page
    assert "No two people" in first.look(f"/console/a/{name}/review/agreement")
    page = second.look(f"/console/a/{name}/review")
    assert "Somebody has decided." in page
    assert "I am sure." not in page
    assert "I am sure." not in second.look(f"/console/feedback/{given}")
    assert "Rejected." not in second.done(f"/console/a/{name}/review", id=given, deed="rejected")
    page = second.look(f"/console/a/{name}/review/agreement")
    assert "Everybody" in page


def test_an_entry_is_reviewed_by_its_address_unless_somebody_holds_it(made: Deployment, name: str, person: Any) -> None:
    given, one, other = correct(made, name), person(), person()
    assert value_of(one.look(f"/console/a/{name}/review?id={given}"), "id") == given
    page = other.look(f"/console/a/{name}/review?id={given}")
    assert "looks at it until" in page
    assert "Review it" in page


# ── reports ──


def test_a_report_is_taken_noted_and_resolved(made: Deployment, name: str, person: Any) -> None:
    asked = made.ask("Which colour?", model=name)["id"]
    receipt = made.give(asked, "report", "wrong", comment=EVIL).json()["receipt"]
    one, other = person(), person()
    page = one.look(f"/console/a/{name}/cases?status=open")
    address = "/console/cases/" + page.partition('href="/console/cases/')[2].partition('"')[0]
    assert "It is yours." in one.done(address, deed="take")
    assert "Nobody has reported" not in one.look(f"/console/a/{name}/cases?mine=1")
    refused = other.send(address, deed="dismissed", answer="It is as it is.")
    assert refused.status_code == 400
    assert "ask them to hand it back, or take it over" in refused.text
    assert "It is as it is." in refused.text
    assert EVIL not in refused.text
    assert other.send(address, deed="note", note=" ").status_code == 400
    assert "Look at &lt;b&gt;it." in other.done(address, deed="note", note="Look at <b>it.")
    assert "Changed." in other.done(address, deed="category", category="bias")
    assert "Resolved" in other.done(address, deed="upheld", answer="You were right.", take_over="1")
    told = made.anyone.get(f"/v1/feedback/{receipt}").json()
    assert (told["status"], told["note"]) == ("resolved", "You were right.")
    assert "It is open again." in one.done(address, deed="reopen")
    person(Role.REVIEWER, "support").look(address, 404)


# ── in a browser ──


@pytest.mark.chromium
def test_a_reviewer_works_by_keys_and_sees_what_comes_in(made: Deployment, name: str, chromium: Browser) -> None:
    ids = [correct(made, name, question=f"Which colour is {thing}?") for thing in ("A", "B", "C")]
    reported = made.ask("Which tent?", model=name)["id"]
    made.give(reported, "report", "wrong")
    page = open_page(chromium, made, key=made.make_key(Role.OPERATOR))
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.goto(f"/console/a/{name}/feedback?live=1")
    expect(page.locator(".entry")).to_have_count(4)
    made.give(reported, "comment", "Just now.")
    expect(page.locator(".entry").first).to_contain_text("Just now.")
    made.give(reported, "comment", "And again.")
    expect(page.locator(".entry").first).to_contain_text("And again.")
    page.locator("select[name=kind]").select_option("correction")
    expect(page.locator(".entry")).to_have_count(3)

    page.goto(f"/console/a/{name}/review?show=unreviewed&kind=correction")
    page.keyboard.down("a")
    expect(page.get_by_role("status")).to_have_text("Approved.")
    page.keyboard.down("a")  # held, it decides on nothing more
    page.keyboard.up("a")
    expect(page.get_by_role("status")).to_have_text("Approved.")
    page.keyboard.press("e")
    page.keyboard.press("Control+End")
    page.keyboard.type(" Or navy.")
    page.get_by_role("button", name="Save my words").click()
    expect(page.get_by_role("status")).to_have_text("Saved in your words.")
    page.keyboard.press("r")
    expect(page.get_by_role("status")).to_have_text("Rejected.")
    decided = [made.http.get(f"/v1/assistants/{name}/feedback/{one}").json()["reviews"][0] for one in ids]
    assert [one["decision"] for one in decided] == ["approved", "edited", "rejected"]
    assert decided[1]["edited"]["content"] == "It is blue. Or navy."

    again = correct(made, name)
    case = made.http.get(f"/v1/assistants/{name}/cases").json()["data"][0]["id"]
    places = ["feedback", f"review?id={again}", "review?kind=survey", "review/agreement", "cases"]
    addresses = [f"/console/a/{name}/{place}" for place in places]
    for language, theme, width in (("zh", "dark", 1280), ("en", "light", 360)):
        page.goto(f"/preferences?language={language}&theme={theme}&next=/sign-in")
        page.set_viewport_size({"width": width, "height": 800})
        for address in [*addresses, f"/console/feedback/{again}", f"/console/cases/{case}"]:
            page.goto(address)
            assert axe_violations(page) == [], (address, language)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address
    assert wrong == []
    page.context.close()


def test_the_pages_and_the_api_do_the_same(made: Deployment, name: str, person: Any) -> None:
    given, reviewer = correct(made, name), person()
    held = made.anyone.post(
        f"/v1/assistants/{name}/review/next", json={"show": "unreviewed"}, headers=bearer(reviewer.key)
    ).json()["next"]
    assert held["id"] == given
    assert value_of(reviewer.look(f"/console/a/{name}/review?show=unreviewed"), "id") == given
