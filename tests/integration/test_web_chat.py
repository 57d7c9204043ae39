"""The chat page over HTTP, as a browser without a script sees it, and as its script does."""

import json
import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import httpx
import pytest
from burnish_server import Deployment, deployment
from sqlmodel import select

from feedback import assistants
from feedback.models import Message
from feedback.states import MessageStatus

SAID = "<script>alert(1)</script> **bold** ![x](https://evil.example/x.png) [y](javascript:alert(1))"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("chat")) as found:
        with found.database.write() as session:
            survey = [{"id": "csat", "text": "How was it?", "kind": "csat"}]
            changes = {"collect": {"survey": survey, "survey_after_replies": 2}}
            assistants.set_policies(session, assistants.get_assistant(session, "support"), changes, actor="test")
        yield found.start()


@pytest.fixture
def person(made: Deployment) -> Iterator["Person"]:
    with httpx.Client(base_url=made.settings.url, timeout=30, follow_redirects=True) as client:
        yield Person(client)


class Person:
    """Somebody at this machine who fills in forms."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.page = client.get("/")

    @property
    def conversation(self) -> str:
        return self.page.url.path

    def field(self, name: str, text: str | None = None) -> str:
        found = re.findall(rf'name="{name}" value="([^"]*)"', text or self.page.text)
        return unescape(found[-1]) if found else ""

    def post(self, path: str, **fields: Any) -> httpx.Response:
        self.page = self.client.post(path, data={"form_token": self.field("form_token"), **fields})
        return self.page

    def ask(self, words: str, **more: Any) -> httpx.Response:
        composer = self.page.text.partition('class="composer"')[2]
        hidden = {name: self.field(name, composer) for name in ("conversation", "completion_id", "choice", "assistant")}
        return self.post("/c", message=words, **hidden, **more)

    def say(self, kind: str, **fields: Any) -> httpx.Response:
        completion_id = self.field("completion_id", self.page.text.partition('class="composer"')[2])
        return self.post(f"{self.conversation}/say", kind=kind, completion_id=completion_id, choice=0, **fields)

    def events(self, words: str) -> list[tuple[str, dict[str, Any]]]:
        composer = self.page.text.partition('class="composer"')[2]
        fields = {"form_token": self.field("form_token"), "message": words, "assistant": "support"}
        fields |= {name: self.field(name, composer) for name in ("conversation", "completion_id", "choice")}
        answer = self.client.post("/c", data=fields, headers={"accept": "text/event-stream"})
        found = re.findall(r"event: (\w+)\ndata: (.*)\n\n", answer.text)
        return [(name, json.loads(data)) for name, data in found]


def test_a_conversation_goes_on_without_a_script(person: Person) -> None:
    first = person.ask("How tall is it?")
    assert first.status_code == 200
    assert "[base] How tall is it?" in unescape(first.text)
    assert "support@0" in first.text
    second = person.ask("And how old?")
    assert second.url.path == first.url.path
    assert "How tall is it?" in second.text
    assert "[base] And how old?" in second.text


def test_nothing_is_said_after_a_reply_that_is_still_being_written(made: Deployment, person: Person) -> None:
    person.ask("How tall is it?")
    completion_id = person.field("completion_id", person.page.text.partition('class="composer"')[2])
    with made.database.write() as session:
        reply = session.exec(select(Message).where(Message.completion_id == completion_id)).one()
        reply.status, reply.content = MessageStatus.WRITING, ""
    refused = person.ask("And how old?")
    assert refused.status_code == 400
    assert "still being written" in refused.text


def test_what_is_refused_before_a_reply_is_an_event_to_the_script(person: Person) -> None:
    person.ask("How tall is it?")
    fields = {"form_token": "an old one", "message": "And?"}
    answer = person.client.post("/c", data=fields, headers={"accept": "text/event-stream"})
    assert answer.status_code == 403
    assert answer.text.startswith('event: failed\ndata: {"message":"This form is too old')


def test_a_reply_comes_as_it_is_written(person: Person) -> None:
    events = person.events("Write a lot, please: " + "word " * 30)
    assert events[0][0] == "begun"
    assert events[-1][0] == "done"
    assert events[0][1]["url"].startswith("/c/page-")
    assert "support@0" in events[-1][1]["html"]


@pytest.mark.parametrize("scripted", [False, True])
def test_what_is_written_is_never_markup(person: Person, scripted: bool) -> None:
    html = person.events(SAID)[-1][1]["html"] if scripted else person.ask(SAID).text
    assert "<script>alert" not in html
    assert "<strong>bold</strong>" in html
    assert "<img" not in html
    assert 'href="javascript' not in html


def test_everything_can_be_said_and_taken_back(person: Person) -> None:
    person.ask("How tall?")
    assert 'aria-pressed="true" aria-label="Good answer"' in person.say("rating", thumb=1).text
    assert 'aria-pressed="true" aria-label="4 stars"' in person.say("rating", stars=4).text
    person.say("rating", stars=4, tag=["well put", "kind"])
    assert person.page.text.count('<span class="tag">') == 2
    assert "You corrected it." in person.say("correction", content="It is 330 m.", key_facts="330 m\n").text
    assert "You commented." in person.say("comment", comment="Nice.").text
    assert "You reported it: privacy" in " ".join(person.say("report", category="privacy").text.split())
    given = person.page.text.count("What became of it")
    assert given == 4
    taken = re.findall(r'name="feedback" value="(fb-[^"]+)"', person.page.text)[1]
    completion_id = person.field("completion_id", person.page.text.partition('class="composer"')[2])
    person.post(f"{person.conversation}/undo", feedback=taken, completion_id=completion_id, choice=0)
    assert "Taken back." in person.page.text
    assert "You corrected it." not in person.page.text


def test_htmx_gets_the_part_of_the_page_that_changed(person: Person) -> None:
    person.ask("How tall?")
    completion_id = person.field("completion_id", person.page.text.partition('class="composer"')[2])
    fields = {"form_token": person.field("form_token"), "kind": "rating", "thumb": -1, "completion_id": completion_id}
    answer = person.client.post(f"{person.conversation}/say", data=fields, headers={"hx-request": "true"})
    assert answer.text.strip().startswith('<div class="said">')
    refused = person.client.post(
        f"{person.conversation}/say", data={**fields, "thumb": 7}, headers={"hx-request": "true"}
    )
    assert (refused.status_code, refused.headers["hx-retarget"]) == (400, "#problem")


def test_two_answers_wait_for_a_choice_that_is_kept(person: Person, made: Deployment) -> None:
    page = person.ask("Which?", two=1).text
    assert "The second is better" in page
    assert "Written by" not in page
    names = ("completion_id", "choice", "other_completion_id", "other_choice")
    choice = page.partition("The first is better")[2].partition("The second is better")[0]
    person.post(f"{person.conversation}/say", kind="preference", **{name: person.field(name, choice) for name in names})
    assert "You chose between two answers." in person.page.text
    assert "1 other answer" in person.page.text


def test_an_answer_can_be_had_again(person: Person) -> None:
    person.ask("Once more?")
    completion_id = person.field("completion_id", person.page.text.partition('class="composer"')[2])
    page = person.post(f"{person.conversation}/again", completion_id=completion_id, choice=0).text
    assert "The first is better" in page


def test_the_survey_comes_when_it_is_due_and_once(person: Person) -> None:
    person.ask("One.")
    assert "How was it?" not in person.page.text
    person.ask("Two.")
    assert "How was it?" in person.page.text
    person.say("survey", **{"csat:csat": 5})
    assert "You answered the survey." in person.page.text
    assert 'name="csat:csat"' not in person.page.text


def test_what_should_not_be_learned_is_marked_so(person: Person, made: Deployment) -> None:
    person.ask("Not for training.", unlearnable=1)
    completion_id = person.field("completion_id", person.page.text.partition('class="composer"')[2])
    assert [reply.store for reply in made.replies(completion_id)] == [False]
    assert 'name="unlearnable" value="1" checked' in person.page.text


def test_nobody_sees_anothers_conversation(person: Person, made: Deployment) -> None:
    person.ask("Private.")
    with httpx.Client(base_url=made.settings.url, timeout=30) as stranger:
        stranger.get("/")
        assert stranger.get(person.conversation).status_code == 404
        assert "Private." not in stranger.get("/").text
        assert stranger.get("/own-data/export").text == ""


def test_a_conversation_is_renamed_found_taken_along_and_erased(person: Person) -> None:
    person.ask("Where is the lighthouse?")
    address = person.conversation
    person.post(f"{address}/rename", title="Towers")
    assert "<h1>Towers</h1>" in person.page.text
    assert "Towers" in person.client.get("/?search=lighthouse").text
    assert "Nothing found." in person.client.get("/?search=submarine").text
    (line,) = person.client.get("/own-data/export").text.splitlines()
    assert json.loads(line)["title"] == "Towers"
    assert "All of it goes" in person.client.get(f"{address}/erase").text
    person.post(f"{address}/erase")
    assert person.client.get(address).status_code == 404


def test_everything_of_a_person_is_erased_if_they_are_sure(person: Person) -> None:
    person.ask("Forget me.")
    address = person.conversation
    person.post("/own-data/erase")
    assert person.client.get(address).status_code == 200
    person.page = person.client.get("/own-data")
    person.post("/own-data/erase", sure=1)
    assert person.client.get(address).status_code == 404


def test_an_empty_or_endless_message_is_refused(person: Person) -> None:
    assert person.ask("   ").status_code == 400
    assert person.client.get("/c/conv-1").status_code == 404


def test_whoever_holds_a_key_speaks_for_themselves(made: Deployment, person: Person) -> None:
    person.page = person.client.get("/sign-in")
    person.post("/sign-in", key=made.admin, next="/")
    person.page = person.client.get("/")
    person.ask("How tall?")
    person.say("correction", content="330 m")
    listed = made.http.get("/v1/assistants/support/feedback").json()
    assert listed[0]["source"] == "operator"
