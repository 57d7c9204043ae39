"""Guidelines, the review queue and cases over HTTP: pages, one call to decide and go on, roles, tenants."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from burnish_server import Deployment, bearer

from feedback.states import Role
from service.api import review


class Reviewer:
    """A key of its own, and short ways to ask with it."""

    def __init__(self, server: Deployment, name: str, role: Role = Role.REVIEWER) -> None:
        self.http = httpx.Client(base_url=server.settings.url, headers=bearer(server.make_key(role, name)), timeout=60)
        self.name = name

    def queue(self, **wanted: Any) -> Any:
        answer = self.http.get(f"/v1/assistants/{self.name}/review", params=wanted)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ids(self, **wanted: Any) -> list[str]:
        return [entry["id"] for entry in self.queue(**wanted)["data"]]

    def next(self, **wanted: Any) -> Any:
        answer = self.http.post(f"/v1/assistants/{self.name}/review/next", json=wanted)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def decide(self, feedback_id: str, decision: str, **more: Any) -> httpx.Response:
        return self.http.post(f"/v1/feedback/{feedback_id}/review", json={"decision": decision, **more})


@pytest.fixture
def desk(server: Deployment, request: pytest.FixtureRequest) -> Iterator[Any]:
    """An assistant of the test's own, with an operator and two reviewers."""
    name = server.make_assistant("desk-" + request.node.name[5:45].replace("_", "-").strip("-"))
    people = [Reviewer(server, name, Role.OPERATOR), Reviewer(server, name), Reviewer(server, name)]
    yield name, *people
    for person in people:
        person.http.close()


def correct(server: Deployment, name: str, content: str, question: str = "Which colour?") -> dict[str, Any]:
    completion_id = server.ask(question, model=name)["id"]
    return dict(server.give(completion_id, "correction", {"content": content, "key_facts": [content]}).json())


def error(answer: httpx.Response) -> tuple[int, str | None, str]:
    return answer.status_code, answer.json()["error"]["param"], answer.json()["error"]["code"]


# ── guidelines ───────────────────────────────────────────────────────────────────────────────────────────────


def test_guidelines_are_read_changed_and_spoken_by_the_next_reply(server: Deployment, desk: Any) -> None:
    name, operator, reviewer, _ = desk
    address = f"/v1/assistants/{name}/guidelines"
    assert reviewer.http.get(address).json()["version"] == 1
    wanted = {"purpose": "You help with tents.", "boundaries": ["Never quote prices."], "review_due": "2024-05-01"}
    made = operator.http.put(address, json=wanted)
    assert made.status_code == 200, made.text
    said = made.json()
    assert said["text"] == "Your purpose: You help with tents.\n\nWhat you never do:\n- Never quote prices."
    assert (said["version"], said["review_due"], said["review_overdue"], said["tone"]) == (2, "2024-05-01", True, "")
    assert operator.http.put(address, json={**wanted, "version": 1}).json()["version"] == 2  # nothing is different
    stale = operator.http.put(address, json={"tone": "Warm.", "version": 1})
    assert error(stale) == (400, "version", "conflict")
    completion = server.ask("Which tent?", model=name)
    assert completion["usage"]["prompt_tokens"] > 10  # the echo engine counts words: the guidelines are among them
    (reply,) = server.replies(completion["id"])
    versions = reviewer.http.get(f"{address}/versions").json()
    assert (versions["object"], [one["version"] for one in versions["data"]]) == ("list", [2, 1])
    assert reviewer.http.get(f"{address}/versions/1").json()["purpose"] == ""
    assert reviewer.http.get(f"{address}/versions/3").status_code == 404
    listed = operator.http.get("/v1/assistants").json()
    (told,) = [one for one in listed if one["name"] == name]
    assert (told["guidelines_version"], told["review_due"], told["review_overdue"]) == (2, "2024-05-01", True)
    assert reply.guidelines_id is not None


@pytest.mark.parametrize(
    ("body", "param"),
    [({"mood": "good"}, "mood"), ({"boundaries": [""]}, "boundaries.0"), ({"review_due": "soon"}, "review_due")],
)
def test_guidelines_out_of_form_are_400(server: Deployment, body: dict[str, Any], param: str) -> None:
    answer = server.http.put("/v1/assistants/support/guidelines", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] in (param, param.partition(".")[0])


def test_reviewers_read_guidelines_and_do_not_change_them(server: Deployment, desk: Any) -> None:
    name, _, reviewer, _ = desk
    assert reviewer.http.put(f"/v1/assistants/{name}/guidelines", json={"tone": "Warm."}).status_code == 403
    chat = bearer(server.make_key(Role.CHAT, name))
    assert server.http.get(f"/v1/assistants/{name}/guidelines", headers=chat).status_code == 403


# ── the queue ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_queue_is_read_page_by_page(server: Deployment, desk: Any) -> None:
    name, _, reviewer, _ = desk
    given = [correct(server, name, f"Blue {number}")["id"] for number in range(5)]
    assert reviewer.queue() == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    seen: list[str] = []
    page = reviewer.queue(show="unreviewed", limit=2)
    while True:
        assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
        seen += [entry["id"] for entry in page["data"]]
        if not page["has_more"]:
            break
        page = reviewer.queue(show="unreviewed", limit=2, after=page["last_id"])
    assert seen == given
    entry = page["data"][0]
    assert entry["conversation"] == [{"role": "user", "content": "Which colour?"}]
    assert (entry["value"], entry["state"]) == ({"content": "Blue 4", "key_facts": ["Blue 4"]}, "unreviewed")
    assert entry["guidelines"] == {"version": 1, "text": ""}
    assert reviewer.ids(show="all", search="blue 3", kind="correction", order="value") == [given[3]]


@pytest.mark.parametrize("query", ["limit=0", "show=some", "kind=applause", "order=newest", "after=fb-nothing"])
def test_a_queue_out_of_form_is_400(server: Deployment, query: str) -> None:
    answer = server.http.get(f"/v1/assistants/support/review?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == query.partition("=")[0]


def test_what_narrows_the_queue_is_as_long_as_when_taking_from_it(desk: Any) -> None:
    name, _, ada, _ = desk
    for field, most in review.LONGEST.items():
        address = f"/v1/assistants/{name}/review"
        refused = ada.http.get(address, params={field: "x" * 60_000 if field == "search" else "x" * (most + 1)})
        assert error(refused) == (400, field, "invalid_value"), field
        assert error(ada.http.post(f"{address}/next", json={field: "x" * (most + 1)}))[0] == 400
    assert ada.ids(show="all", search="x" * 200) == []


def test_one_call_decides_and_takes_the_next_and_may_be_repeated(server: Deployment, desk: Any) -> None:
    name, _, ada, bob = desk
    ids = [correct(server, name, f"Blue {number}")["id"] for number in range(4)]
    wanted = {"show": "unreviewed"}
    first = ada.next(**wanted)
    assert (first["decided"], first["next"]["id"]) == (None, ids[0])
    assert bob.next(**wanted)["next"]["id"] == ids[1]
    on = {**wanted, "decide": {"id": ids[0], "decision": "rejected", "note": "It is red."}}
    for _ in range(2):  # the answer got lost on the way
        second = ada.next(**on)
        assert (second["decided"]["status"], second["decided"]["status_reason"]) == ("declined", "It is red.")
        assert second["next"]["id"] == ids[2]
        assert second["next"]["claimed_by"].startswith("key:")
    assert ada.next(**wanted, skip=ids[2])["next"]["id"] == ids[3]
    assert bob.next(**wanted, decide={"id": ids[1], "decision": "approved"})["next"]["id"] == ids[2]
    assert ada.next(**wanted, skip=ids[2])["next"]["id"] == ids[3]  # asked again, when bob has it already
    last = bob.next(**wanted, decide={"id": ids[2], "decision": "approved"})
    assert (last["decided"]["id"], last["next"]) == (ids[2], None)
    missing = ada.http.post(
        f"/v1/assistants/{name}/review/next", json={"decide": {"id": "fb-0", "decision": "approved"}}
    )
    assert missing.status_code == 404


def test_a_claim_keeps_others_out_until_it_is_released(server: Deployment, desk: Any) -> None:
    name, operator, ada, bob = desk
    given = correct(server, name, "Blue")["id"]
    held = ada.http.post(f"/v1/feedback/{given}/claim").json()
    assert held["claimed_until"]
    assert error(bob.http.post(f"/v1/feedback/{given}/claim")) == (400, "id", "conflict")
    assert error(bob.decide(given, "approved")) == (400, "id", "conflict")
    assert bob.next(show="unreviewed")["next"] is None
    assert ada.http.post(f"/v1/feedback/{given}/release").json()["claimed_by"] is None
    assert bob.http.post(f"/v1/feedback/{given}/claim").json()["claimed_by"] != held["claimed_by"]
    assert operator.decide(given, "approved", final=True).status_code == 200


def test_a_second_opinion_is_unseen_a_dispute_goes_on_and_an_operator_settles_it(server: Deployment, desk: Any) -> None:
    name, operator, ada, bob = desk
    given = correct(server, name, "Blue")
    said = ada.decide(given["id"], "approved", second_opinion=True, comment="Not sure.", note="Thanks!")
    assert said.json()["status"] == "in_review"
    assert "Not sure." not in bob.http.get(f"/v1/assistants/{name}/review").text
    assert bob.queue(show="second_opinion")["data"][0]["reviews_hidden"] is True
    receipt = server.anyone.get(f"/v1/feedback/{given['receipt']}").json()
    assert (receipt["status"], receipt["note"]) == ("in_review", None)
    edited = {"content": "It is green.", "key_facts": ["green"]}
    assert bob.decide(given["id"], "edited", edited=edited).json()["status"] == "in_review"
    (entry,) = operator.queue()["data"]
    assert (entry["state"], [one["decision"] for one in entry["reviews"]]) == ("disputed", ["approved", "edited"])
    assert error(bob.decide(given["id"], "edited", edited=edited, final=True))[0] == 403
    assert operator.decide(given["id"], "edited", edited=edited, final=True).json()["status"] == "received"
    (entry,) = operator.queue(show="all")["data"]
    assert [one["counts"] for one in entry["reviews"]] == [False, False, True]
    found = ada.http.get(f"/v1/assistants/{name}/review/agreement").json()
    assert (found["overall"]["n"], found["overall"]["agreed"], len(found["pairs"])) == (1, 1, 1)  # both would learn


def test_edited_words_out_of_form_are_400(server: Deployment, desk: Any) -> None:
    name, _, ada, _ = desk
    given = correct(server, name, "Blue")["id"]
    assert error(ada.decide(given, "edited"))[:2] == (400, "edited")
    assert error(ada.decide(given, "edited", edited={"content": "Red.", "key_facts": ["green"]}))[:2] == (400, "value")
    assert error(ada.decide(given, "edited", edited="Re\0d."))[0] == 400
    assert error(ada.decide(given, "approved", mood="good"))[:2] == (400, "mood")


# ── cases ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_report_is_looked_into_and_answered(server: Deployment, desk: Any) -> None:
    name, _, ada, bob = desk
    completion_id = server.ask("Which colour?", model=name)["id"]
    given = server.give(completion_id, "report", "abuse", comment="Rude!").json()
    (case,) = ada.http.get(f"/v1/assistants/{name}/cases").json()["data"]
    assert (case["status"], case["category"], case["reports"][0]["comment"]) == ("open", "abuse", "Rude!")
    address = f"/v1/cases/{case['id']}"
    taken = ada.http.post(address, json={"status": "investigating", "note": "Looks odd.", "category": "bias"}).json()
    assert (taken["status"], taken["category"], taken["notes"][0]["text"]) == ("investigating", "bias", "Looks odd.")
    assert ada.ids(category="bias") == [given["id"]]
    assert ada.http.get(f"/v1/assistants/{name}/cases", params={"mine": True}).json()["data"]
    assert not bob.http.get(f"/v1/assistants/{name}/cases", params={"mine": True}).json()["data"]
    assert error(bob.http.post(address, json={"status": "open"})) == (400, "take_over", "conflict")
    done = {"status": "resolved", "outcome": "upheld", "answer": "Sorry, and thanks."}
    assert bob.http.post(address, json={**done, "take_over": True}).json()["resolved_at"]
    told = server.anyone.get(f"/v1/feedback/{given['receipt']}").json()
    assert (told["status"], told["note"]) == ("resolved", "Sorry, and thanks.")
    assert "Looks odd." not in str(told)
    server.give(completion_id, "report", "wrong")
    again = ada.http.get(address).json()
    assert (again["status"], [one["category"] for one in again["reports"]]) == ("open", ["abuse", "wrong"])
    page = ada.http.get(f"/v1/assistants/{name}/cases", params={"status": "open", "limit": 1}).json()
    assert (page["last_id"], page["has_more"]) == (case["id"], False)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"status": "resolved"}, "outcome"),
        ({"status": "closed"}, "status"),
        ({"category": "boredom"}, "category"),
        ({"mood": "bad"}, "mood"),
    ],
)
def test_a_case_changed_out_of_form_is_400(server: Deployment, body: dict[str, Any], param: str) -> None:
    server.give(server.ask("Which colour?")["id"], "report", "abuse")
    case = server.http.get("/v1/assistants/support/cases").json()["data"][0]
    assert error(server.http.post(f"/v1/cases/{case['id']}", json=body))[:2] == (400, param)


# ── who may ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_other_tenants_find_nothing_and_chat_keys_may_not(server: Deployment, desk: Any) -> None:
    name, *_ = desk
    completion_id = server.ask("Which colour?", model=name)["id"]
    given = server.give(completion_id, "report", "abuse").json()["id"]
    case = server.http.get(f"/v1/assistants/{name}/cases").json()["data"][0]["id"]
    asked = [
        ("GET", f"/v1/assistants/{name}/review", None),
        ("POST", f"/v1/assistants/{name}/review/next", {}),
        ("GET", f"/v1/assistants/{name}/review/agreement", None),
        ("POST", f"/v1/feedback/{given}/claim", None),
        ("POST", f"/v1/feedback/{given}/release", None),
        ("GET", f"/v1/assistants/{name}/cases", None),
        ("GET", f"/v1/cases/{case}", None),
        ("POST", f"/v1/cases/{case}", {"status": "investigating"}),
        ("GET", f"/v1/assistants/{name}/guidelines", None),
        ("PUT", f"/v1/assistants/{name}/guidelines", {"tone": "Warm."}),
        ("GET", f"/v1/assistants/{name}/guidelines/versions", None),
        ("GET", f"/v1/assistants/{name}/guidelines/versions/1", None),
    ]
    for role, names, expected in ((Role.OPERATOR, ["garden"], 404), (Role.CHAT, [name], 403)):
        headers = bearer(server.make_key(role, *names))
        for method, address, body in asked:
            assert server.http.request(method, address, json=body, headers=headers).status_code == expected, address
            assert server.anyone.request(method, address, json=body).status_code == 401
