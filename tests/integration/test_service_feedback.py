"""Feedback over HTTP: receipts, refusals, second thoughts, reviewers; and no kill loses what was acknowledged."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from bench.gifts import chat, gifts_on
from bench.intake_kills import LEAST_BEFORE, kill_often
from burnish_server import Deployment, bearer

from feedback.states import Role


@pytest.fixture(scope="module")
def completion_id(server: Deployment) -> str:
    return str(server.ask("what blooms in March?")["id"])


def form_of(server: Deployment, completion_id: str, headers: dict[str, str] | None = None, **more: Any) -> Any:
    return server.http.get("/v1/feedback/form", params={"completion_id": completion_id, **more}, headers=headers)


def receipt_of(server: Deployment, receipt: str) -> httpx.Response:
    return server.anyone.get(f"/v1/feedback/{receipt}")


@pytest.mark.parametrize(
    ("kind", "value", "status"),
    [
        ("rating", 1, "received"),
        ("rating", {"stars": 4}, "received"),
        ("comment", "Too short.", "received"),
        ("correction", "Crocuses.", "received"),
        ("correction", {"content": "Crocuses do.", "key_facts": ["crocuses"]}, "received"),
        ("report", "privacy", "in_review"),
    ],
)
def test_every_kind_of_feedback_is_acknowledged_with_a_receipt_that_needs_no_key(
    server: Deployment, completion_id: str, kind: str, value: Any, status: str
) -> None:
    answer = server.give(completion_id, kind, value, tags=["spring"], user=f"giver of {kind}")
    assert answer.status_code == 201
    accepted = answer.json()
    assert set(accepted) == {"id", "receipt", "status"}
    assert accepted["status"] == status
    told = receipt_of(server, accepted["receipt"])
    assert told.status_code == 200
    assert (told.json()["id"], told.json()["kind"], told.json()["status"]) == (accepted["id"], kind, status)
    assert told.json()["detail"]


def test_a_choice_between_siblings_is_taken(server: Deployment) -> None:
    completion_id = server.ask("tea or coffee?", n=2)["id"]
    chosen = server.give(completion_id, "preference", {"rejected": {"choice": 0}}, choice=1)
    assert chosen.status_code == 201
    itself = server.give(completion_id, "preference", {"rejected": {"choice": 1}}, choice=1)
    assert itself.status_code == 400
    assert itself.json()["error"]["param"] == "value"


def test_a_repeated_request_under_one_idempotency_key_is_stored_once(server: Deployment, completion_id: str) -> None:
    body = {"completion_id": completion_id, "kind": "comment", "value": "Once."}
    answers = [server.http.post("/v1/feedback", json=body, headers={"idempotency-key": "k-1"}) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    other = server.http.post("/v1/feedback", json={**body, "value": "Twice."}, headers={"idempotency-key": "k-1"})
    assert other.status_code == 400
    assert other.json()["error"]["code"] == "idempotency_key_reused"
    too_long = server.http.post("/v1/feedback", json=body, headers={"idempotency-key": "k" * 201})
    assert too_long.status_code == 400


def test_changing_ones_mind_replaces_the_earlier_word(server: Deployment, completion_id: str) -> None:
    first, second = (server.give(completion_id, "rating", thumb, user="fickle").json() for thumb in (1, -1))
    assert receipt_of(server, first["receipt"]).json()["status"] == "replaced"
    assert receipt_of(server, second["receipt"]).json()["status"] == "received"
    somebody_else = server.give(completion_id, "rating", 1, user="steady").json()
    assert receipt_of(server, second["receipt"]).json()["status"] == "received"
    assert receipt_of(server, somebody_else["receipt"]).json()["status"] == "received"


def test_anonymous_words_do_not_replace_each_other(server: Deployment, completion_id: str) -> None:
    first, _ = (server.give(completion_id, "rating", thumb, anonymous=True).json() for thumb in (1, -1))
    assert receipt_of(server, first["receipt"]).json()["status"] == "received"


def test_a_survey_is_asked_when_it_is_due_and_answered_once(server: Deployment) -> None:
    name = server.make_assistant("asks")
    questions = '[{"id": "found", "text": "Did you find it?", "kind": "choice", "options": ["yes", "no"]}]'
    server.burnish("assistant", "set", name, f"collect.survey={questions}", 'collect.tags=["slow"]')
    server.burnish("assistant", "set", name, "collect.survey_after_replies=2", "collect.anonymous=false")
    chat = {"user": "ada", "metadata": {"conversation_id": "c-1"}}
    first, second = (server.ask(words, name, **chat)["id"] for words in ("where is it?", "and now?"))
    form = form_of(server, second).json()
    assert (form["tags"], form["anonymous"]) == (["slow"], False)
    assert form["survey"] == [{**json.loads(questions)[0]}]
    given = server.give(second, "survey", {"found": "no"}, tags=["slow"])
    assert given.status_code == 201
    assert "trained" in receipt_of(server, given.json()["receipt"]).json()["detail"]
    assert form_of(server, first).json()["survey"] is None
    assert form_of(server, first, user="bob").json()["survey"] is not None
    refused = [
        server.give(second, "survey", {"found": "perhaps"}),
        server.give(second, "survey", {"found": "no"}, tags=["rude"]),
        server.give(second, "survey", {"found": "no"}, anonymous=True),
    ]
    assert [answer.status_code for answer in refused] == [400] * 3
    assert [answer.json()["error"]["param"] for answer in refused] == ["value", "tags", "anonymous"]


def test_the_form_is_for_who_may_give_feedback_on_that_reply(server: Deployment, completion_id: str) -> None:
    feedback = bearer(server.make_key(Role.FEEDBACK, "support"))
    assert form_of(server, completion_id, headers=feedback).status_code == 200
    assert form_of(server, completion_id, headers={"authorization": ""}).status_code == 401
    stranger = bearer(server.make_key(Role.FEEDBACK, "garden"))
    for name, headers in ((completion_id, stranger), ("chatcmpl-nothing", feedback)):
        assert form_of(server, name, headers=headers).json()["error"]["code"] == "completion_not_found"
    assert form_of(server, completion_id, choice=-1).json()["error"]["param"] == "choice"
    assert form_of(server, completion_id, user="x" * 201).json()["error"]["param"] == "user"


def test_feedback_on_nothing_is_404(server: Deployment, completion_id: str) -> None:
    for answer in (server.give("chatcmpl-nothing", "rating", 1), server.give(completion_id, "rating", 1, choice=3)):
        assert answer.status_code == 404
        assert answer.json()["error"]["param"] == "completion_id"
        assert answer.json()["error"]["code"] == "completion_not_found"
    assert receipt_of(server, "rcpt-nothing").status_code == 404
    assert receipt_of(server, "rcpt-nothing").json()["error"]["code"] == "receipt_not_found"


def test_feedback_on_another_tenants_reply_is_404(server: Deployment, completion_id: str) -> None:
    body = {"completion_id": completion_id, "kind": "rating", "value": 1}
    headers = bearer(server.make_key(Role.FEEDBACK, "garden"))
    answer = server.http.post("/v1/feedback", json=body, headers=headers)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "completion_not_found"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"kind": "rating", "value": 2}, "value"),
        ({"kind": "rating", "value": True}, "value"),
        ({"kind": "rating", "value": {"stars": 6}}, "value"),
        ({"kind": "applause", "value": 1}, "kind"),
        ({"kind": "comment"}, "value"),
        ({"kind": "comment", "value": "x" * 20_001}, "value"),
        ({"kind": "correction", "value": ""}, "value"),
        ({"kind": "correction", "value": {"content": "Yes.", "key_facts": ["No"]}}, "value"),
        ({"kind": "report", "value": "boredom"}, "value"),
        ({"kind": "preference", "value": {"rejected": "the other"}}, "value"),
        ({"kind": "rating", "value": 1, "choice": -1}, "choice"),
        ({"kind": "rating", "value": 1, "choice": 10**30}, "choice"),
        ({"kind": "rating", "value": 1, "tags": ["t"] * 21}, "tags"),
        ({"kind": "rating", "value": 1, "mood": "good"}, "mood"),
        ({"value": 1}, "kind"),
    ],
)
def test_feedback_out_of_form_is_400_and_says_where(
    server: Deployment, completion_id: str, body: dict[str, Any], param: str
) -> None:
    answer = server.http.post("/v1/feedback", json={"completion_id": completion_id, **body})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert error["message"]


def test_a_feedback_key_only_gives_feedback(server: Deployment, completion_id: str) -> None:
    headers = bearer(server.make_key(Role.FEEDBACK))
    body = {"completion_id": completion_id, "kind": "rating", "value": 1}
    assert server.http.post("/v1/feedback", json=body, headers=headers).status_code == 201
    assert server.http.get("/v1/assistants/support/feedback", headers=headers).status_code == 403
    assert server.http.post("/v1/feedback", json=body, headers={"authorization": ""}).status_code == 401


def test_a_reviewer_reads_and_decides_and_the_giver_reads_the_note(server: Deployment, completion_id: str) -> None:
    reviewer = bearer(server.make_key(Role.REVIEWER, "support"))
    given = server.give(completion_id, "report", "wrong", user="reporter").json()
    waiting = server.http.get("/v1/assistants/support/feedback?status=in_review", headers=reviewer).json()
    assert given["id"] in {one["id"] for one in waiting}
    decided = server.http.post(
        f"/v1/feedback/{given['id']}/review", json={"decision": "rejected", "note": "It is right."}, headers=reviewer
    )
    assert decided.status_code == 200
    assert decided.json()["status"] == "declined"
    told = receipt_of(server, given["receipt"]).json()
    assert (told["status"], told["note"]) == ("declined", "It is right.")


@pytest.mark.parametrize("role", [Role.CHAT, Role.FEEDBACK])
def test_who_may_not_review_gets_403(server: Deployment, completion_id: str, role: Role) -> None:
    headers = bearer(server.make_key(role))
    given = server.give(completion_id, "comment", "Hm.").json()
    assert server.http.get("/v1/assistants/support/feedback", headers=headers).status_code == 403
    body = {"decision": "approved"}
    assert server.http.post(f"/v1/feedback/{given['id']}/review", json=body, headers=headers).status_code == 403


def test_another_tenants_reviewer_sees_nothing_and_cannot_tell_that_it_exists(
    server: Deployment, completion_id: str
) -> None:
    headers = bearer(server.make_key(Role.OPERATOR, "garden"))
    given = server.give(completion_id, "comment", "Private.").json()
    review = {"decision": "approved"}
    assert server.http.post(f"/v1/feedback/{given['id']}/review", json=review, headers=headers).status_code == 404
    for address in ("/v1/assistants/{}/feedback", "/v1/assistants/{}/versions", "/v1/assistants/{}/runs"):
        there, nowhere = (server.http.get(address.format(name), headers=headers) for name in ("support", "nobody"))
        assert there.status_code == nowhere.status_code == 404
        assert there.json() == {"error": {**nowhere.json()["error"], "message": there.json()["error"]["message"]}}
        assert there.json()["error"]["message"].replace("support", "nobody") == nowhere.json()["error"]["message"]
    assert {one["name"] for one in server.http.get("/v1/assistants", headers=headers).json()} == {"garden"}


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1000", "status=lost", "limit=many"], ids=lambda query: query.replace("=", " ")
)
def test_a_list_out_of_form_is_400(server: Deployment, query: str) -> None:
    answer = server.http.get(f"/v1/assistants/support/feedback?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == query.partition("=")[0]


def test_acknowledged_feedback_survives_kill_9_and_what_was_not_is_stored_once_when_repeated(
    own_deployment: Deployment,
) -> None:
    own_deployment.start()
    gifts = gifts_on(asyncio.run(chat(own_deployment.settings.url, own_deployment.admin, 8)))
    before = own_deployment.give(next(gifts)["completion_id"], "correction", "Before.", user="early").json()
    (kill,) = kill_often(own_deployment, gifts, kills=1, clients=8)
    print(kill)
    assert kill["acknowledged"] == kill["present"] >= LEAST_BEFORE
    assert kill["unanswered"] == kill["there_once_after_repeat"] == 8
    assert kill["lost"] == kill["rows_too_many"] == 0
    assert receipt_of(own_deployment, before["receipt"]).json()["status"] == "received"
    newest = own_deployment.http.get("/v1/assistants/support/feedback?limit=200").json()
    assert {one["kind"] for one in newest} == {"rating", "correction", "preference", "comment"}
