"""A person's own conversations over HTTP: theirs alone, found, renamed, taken away, taken out for good."""

import json
from collections.abc import Iterator

import httpx
import pytest
from burnish_server import Deployment, bearer, deployment

from feedback.states import Role


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("own")) as found:
        found.make_assistant("poems")
        yield found.start()


def own(made: Deployment, path: str = "", **asked: object) -> httpx.Response:
    return made.http.get(f"/v1/conversations{path}", params=asked)


def titles(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["title"] for one in answer.json()["data"]]


def test_each_person_has_their_own(made: Deployment) -> None:
    made.ask("How tall is it?", user="ada")
    made.ask("How old is it?", user="ben", metadata={"conversation_id": "b-1"})
    made.ask("Who asks?")
    assert titles(own(made, user="ada")) == ["How tall is it?"]
    assert titles(own(made, user="ben")) == ["How old is it?"]
    assert titles(own(made)) == ["Who asks?"]
    assert own(made, "/b-1", user="ben").json()["messages"][0]["content"] == "How old is it?"
    assert own(made, "/b-1", user="ada").status_code == 404
    assert own(made, "/b-1").status_code == 404


def test_another_key_sees_none_of_them(made: Deployment) -> None:
    made.ask("Is this mine?", user="cleo")
    with httpx.Client(base_url=made.settings.url, headers=bearer(made.make_key(Role.CHAT)), timeout=30) as other:
        assert other.get("/v1/conversations", params={"user": "cleo"}).json()["data"] == []


def test_a_key_of_one_assistant_sees_only_that_ones(made: Deployment) -> None:
    made.ask("A poem, please.", model="poems", user="dora")
    assert titles(own(made, user="dora", model="poems")) == ["A poem, please."]
    assert titles(own(made, user="dora", model="support")) == []
    with httpx.Client(base_url=made.settings.url, headers=bearer(made.make_key(Role.CHAT, "support"))) as narrow:
        assert narrow.get("/v1/conversations", params={"model": "poems"}).status_code == 404


def test_they_are_searched_by_title_and_by_words(made: Deployment) -> None:
    made.ask("Where is the lighthouse?", user="eve")
    made.ask("What is 100% of it?", user="eve")
    assert titles(own(made, user="eve", search="LIGHTHOUSE")) == ["Where is the lighthouse?"]
    assert titles(own(made, user="eve", search="100%")) == ["What is 100% of it?"]
    assert titles(own(made, user="eve", search="nothing of it")) == []


def test_pages_go_by_the_last_one(made: Deployment) -> None:
    for number in range(3):
        made.ask(f"Question {number}", user="fay")
    first = own(made, user="fay", limit=2).json()
    assert (len(first["data"]), first["has_more"]) == (2, True)
    rest = own(made, user="fay", limit=2, after=first["last_id"])
    assert titles(rest) == ["Question 0"]
    assert rest.json()["has_more"] is False


def test_a_title_can_be_given_and_given_up(made: Deployment) -> None:
    made.ask("What is its colour?", user="gil", metadata={"conversation_id": "g-1"})
    renamed = made.http.post("/v1/conversations/g-1", params={"user": "gil"}, json={"title": " The   colour "})
    assert renamed.json()["title"] == "The colour"
    assert titles(own(made, user="gil", search="the colour")) == ["The colour"]
    back = made.http.post("/v1/conversations/g-1", params={"user": "gil"}, json={"title": ""})
    assert back.json()["title"] == "What is its colour?"
    assert made.http.post("/v1/conversations/g-1", params={"user": "ada"}, json={"title": "x"}).status_code == 404


def test_a_conversation_has_every_answer_and_what_its_person_said(made: Deployment) -> None:
    reply = made.ask("How wide?", user="hal", metadata={"conversation_id": "h-1"})
    made.ask("How wide?", user="hal", metadata={"conversation_id": "h-1"})
    made.give(reply["id"], "rating", 1, user="hal").raise_for_status()
    made.give(reply["id"], "rating", -1, user="somebody-else").raise_for_status()
    question, first, second = own(made, "/h-1", user="hal").json()["messages"]
    assert (first["parent"], second["parent"]) == (question["number"], question["number"])
    assert first["model"] == "support@0"
    assert [said["value"] for said in first["feedback"]] == [{"thumb": 1}]
    assert second["feedback"] == []


def test_who_wrote_blind_replies_is_not_told_before_the_choice(made: Deployment) -> None:
    asked = {"model": "support", "user": "ivy", "messages": [{"role": "user", "content": "Choose."}]}
    compared = made.http.post("/v1/comparisons", json={**asked, "metadata": {"conversation_id": "i-1"}}).json()
    models = [one["model"] for one in own(made, "/i-1", user="ivy").json()["messages"][1:]]
    assert models == [None, None]
    made.http.post(f"/v1/comparisons/{compared['id']}/choice", json={"choice": 1, "user": "ivy"}).raise_for_status()
    models = [one["model"] for one in own(made, "/i-1", user="ivy").json()["messages"][1:]]
    assert models == ["support@0", "support@0"]


def test_everything_can_be_taken_along(made: Deployment) -> None:
    for number in range(3):
        made.ask(f"Remember {number}", user="jan")
    lines = [json.loads(line) for line in own(made, "/export", user="jan").text.splitlines()]
    assert [one["messages"][0]["content"] for one in lines] == ["Remember 2", "Remember 1", "Remember 0"]


def test_conversations_of_one_id_with_several_assistants_are_each_there_once(made: Deployment) -> None:
    for model in ("support", "poems"):
        made.ask(f"Said to {model}.", model=model, user="ned", metadata={"conversation_id": "n-1"})
    with made.http.stream("GET", "/v1/conversations/export", params={"user": "ned"}) as answer:
        lines = [json.loads(line) for line, _ in zip(answer.iter_lines(), range(3), strict=False)]
    assert [one["messages"][0]["content"] for one in lines] == ["Said to poems.", "Said to support."]
    newest = own(made, user="ned", limit=1).json()
    older = own(made, user="ned", limit=1, after=newest["last_id"]).json()
    assert (newest["last_id"], newest["has_more"], older["has_more"]) == ("n-1", True, False)
    assert older["data"][0]["title"] == "Said to support."
    assert own(made, f"/{older['last_id']}", user="ned").json()["assistant"] == "support"
    assert own(made, f"/{older['last_id']}", user="ben").status_code == 404


def test_one_can_be_erased_and_nobody_elses_of_the_same_id_goes(made: Deployment) -> None:
    for user in ("kim", "lee"):
        made.ask("Secret.", user=user, metadata={"conversation_id": "shared"})
    gone = made.http.delete("/v1/conversations/shared", params={"user": "kim"})
    assert gone.status_code == 200
    assert own(made, "/shared", user="kim").status_code == 404
    assert titles(own(made, user="lee")) == ["Secret."]
    assert made.http.get(f"/v1/erasures/{gone.json()['erasure']}").json()["kind"] == "conversation"


def test_a_person_can_be_erased_with_all_they_said(made: Deployment) -> None:
    reply = made.ask("Forget me.", user="mia")
    receipt = made.give(reply["id"], "rating", 1, user="mia").json()["receipt"]
    made.ask("Forget this poem.", model="poems", user="mia")
    gone = made.http.delete("/v1/conversations", params={"user": "mia"}).json()
    assert len(gone) == 2
    assert titles(own(made, user="mia")) == []
    assert made.anyone.get(f"/v1/feedback/{receipt}").status_code == 404
    assert made.http.delete("/v1/conversations").status_code == 400
