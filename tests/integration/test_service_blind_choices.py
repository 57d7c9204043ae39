"""Comparisons over HTTP: what comes back tells nothing of the versions, and a choice is feedback like any other."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from burnish_server import Deployment, bearer, deployment, eventually

from feedback.states import Role

ASKED = {"model": "support", "user": "ada", "messages": [{"role": "user", "content": "tea or coffee?"}]}
REQUEST = {**ASKED, "temperature": 1, "seed": 7, "max_tokens": 40, "metadata": {"page": "home"}, "store": True}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A service whose assistant compares its second version with its first."""
    folder: Path = tmp_path_factory.mktemp("shop")
    with deployment(folder) as made:
        made.start()
        made.make_assistant("garden")
        for _ in range(2):
            version = made.publish_version()
            made.promote(version)
            eventually(lambda version=version: made.serves(f"support@{version.number}"), "it serves")
        assert made.burnish("assistant", "set", "support", "collect.comparison=previous").returncode == 0
        yield made


def compare(shop: Deployment, role: Role = Role.CHAT, *names: str, **more: Any) -> httpx.Response:
    headers = bearer(shop.make_key(role, *names))
    return shop.http.post("/v1/comparisons", json={**REQUEST, **more}, headers=headers)


def choose(shop: Deployment, comparison: str, choice: Any, **more: Any) -> httpx.Response:
    headers = more.pop("headers", None)
    return shop.http.post(f"/v1/comparisons/{comparison}/choice", json={"choice": choice, **more}, headers=headers)


def test_a_comparison_names_no_version(shop: Deployment) -> None:
    answer = compare(shop)
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"id", "object", "created", "model", "choices", "identical", "usage"}
    assert (body["object"], body["model"], body["identical"]) == ("comparison", "support", False)
    assert [choice["index"] for choice in body["choices"]] == [0, 1]
    assert {choice["finish_reason"] for choice in body["choices"]} == {"stop"}
    assert body["usage"]["completion_tokens"] == 12
    replies = shop.replies(body["id"])
    assert {shop.version_label(reply) for reply in replies} == {"support@1", "support@2"}
    assert [reply.content for reply in replies] == [choice["message"]["content"] for choice in body["choices"]]
    assert {reply.store for reply in replies} == {True}
    told = json.dumps({**body, "choices": None}) + json.dumps(dict(answer.headers))
    assert "@" not in told


def test_a_choice_is_a_preference_with_a_receipt(shop: Deployment) -> None:
    made = compare(shop).json()
    key = {"idempotency-key": made["id"]}
    first, again = (choose(shop, made["id"], 1, tags=["warm"], comment="Better.", headers=key) for _ in range(2))
    assert (first.status_code, again.json()) == (201, first.json())
    assert choose(shop, made["id"], 0, headers=key).json()["error"]["code"] == "idempotency_key_reused"
    receipt = shop.anyone.get(f"/v1/feedback/{first.json()['receipt']}").json()
    assert (receipt["kind"], receipt["status"]) == ("preference", "received")
    assert choose(shop, made["id"], "bad").status_code == 201
    assert shop.anyone.get(f"/v1/feedback/{first.json()['receipt']}").json()["status"] == "replaced"
    form = shop.http.get("/v1/feedback/form", params={"completion_id": made["id"], "choice": 1}).json()
    assert "preference" in form["kinds"]


def test_a_candidate_can_be_rated_corrected_and_chosen_like_any_reply(shop: Deployment) -> None:
    made, ordinary = compare(shop).json(), shop.ask("tea or coffee?", user="ada", store=True)
    assert shop.give(made["id"], "correction", "Tea.", choice=1).status_code == 201
    assert shop.replies(ordinary["id"])[0].parent_id != shop.replies(made["id"])[0].parent_id  # another key asked
    again = shop.http.post("/v1/comparisons", json=REQUEST).json()
    value = {"rejected": {"completion_id": ordinary["id"]}}
    assert shop.give(again["id"], "preference", value, choice=1).status_code == 201


@pytest.mark.parametrize("choice", [2, -1, True, None, "0", "same", [0], {}])
def test_other_choices_are_refused(shop: Deployment, choice: Any) -> None:
    answer = choose(shop, "cmp-any", choice)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "choice"


def test_a_choice_goes_by_the_assistants_policy_and_the_keys_assistants(shop: Deployment) -> None:
    made = compare(shop).json()
    assert choose(shop, made["id"], 0, tags=["x" * 51]).json()["error"]["param"].startswith("tags")
    assert choose(shop, made["id"], 0, mood="good").status_code == 400
    stranger = bearer(shop.make_key(Role.CHAT, "garden"))
    there, nowhere = (choose(shop, name, 0, headers=stranger) for name in (made["id"], "cmp-nowhere"))
    assert there.status_code == nowhere.status_code == 404
    assert {**there.json()["error"], "message": ""} == {**nowhere.json()["error"], "message": ""}
    assert choose(shop, made["id"], 0, headers=bearer(shop.make_key(Role.FEEDBACK))).status_code == 201


def test_an_operator_names_versions_and_others_may_not(shop: Deployment) -> None:
    made = compare(shop, Role.OPERATOR, versions=[0, 2]).json()
    assert {shop.version_label(reply) for reply in shop.replies(made["id"])} == {"support@0", "support@2"}
    assert compare(shop, versions=[0, 2]).status_code == 403
    assert compare(shop, Role.OPERATOR, versions=[0, 9]).status_code == 404
    for versions in ([0], [0, 1, 2], [0, -1], "0,1"):
        assert compare(shop, Role.OPERATOR, versions=versions).status_code == 400


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"stream": True}, 400, "stream"),
        ({"n": 3}, 400, "n"),
        ({"model": "support@1"}, 400, "model"),
        ({"model": "nobody"}, 404, "model"),
        ({"messages": []}, 400, "messages"),
        ({"temperature": 9}, 400, "temperature"),
    ],
)
def test_a_comparison_that_cannot_be_made_is_refused(
    shop: Deployment, change: dict[str, Any], status: int, param: str
) -> None:
    answer = compare(shop, **change)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


def test_keys_that_only_give_feedback_or_see_other_assistants_compare_nothing(shop: Deployment) -> None:
    assert compare(shop, Role.FEEDBACK).status_code == 403
    assert compare(shop, Role.CHAT, "garden").status_code == 404


def test_greedy_samples_of_one_version_are_told_to_be_identical(shop: Deployment) -> None:
    made = compare(shop, model="garden", temperature=0).json()
    assert made["identical"] is True
    assert choose(shop, made["id"], "good").status_code == 201
