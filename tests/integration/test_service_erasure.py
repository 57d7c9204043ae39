"""Erasure over HTTP: by operators, and by givers who hold a receipt."""

import pytest
from burnish_server import Deployment, bearer, eventually

from feedback import adapters, assistants
from feedback.columns import now
from feedback.erasure import finish
from feedback.errors import NotFound
from feedback.review import get_feedback
from feedback.states import Role


@pytest.fixture
def shop(server: Deployment, request: pytest.FixtureRequest) -> str:
    """An assistant of the test's own on the shared service."""
    return server.make_assistant(f"shop-{abs(hash(request.node.name)) % 10**8}")


def correct(server: Deployment, shop: str, user: str) -> dict[str, str]:
    asked = server.ask("How big?", shop, user=user)
    return dict(server.give(asked["id"], "correction", "Two metres.").json())


def test_an_operator_erases_a_person_and_follows_it_to_the_end(server: Deployment, shop: str) -> None:
    given = correct(server, shop, "ada")
    url = f"/v1/assistants/{shop}/erasures"
    would = server.http.post(url, json={"user": "ada", "dry_run": True})
    expected = {"contributor": 1, "conversation": 1, "message": 2, "feedback": 1}
    assert (would.status_code, would.json()["erasure"]) == (200, None)
    assert would.json()["consequences"]["counts"] == expected
    assert server.anyone.get(f"/v1/feedback/{given['receipt']}").status_code == 200

    done = server.http.post(url, json={"user": "ada"})
    assert done.status_code == 200
    erasure = done.json()["erasure"]
    assert erasure | {"state": "rows_gone", "counts": expected, "actor": "key:a admin key#1"} == erasure
    assert server.anyone.get(f"/v1/feedback/{given['receipt']}").status_code == 404
    assert server.http.post(url, json={"user": "ada"}).status_code == 404
    assert server.http.get(url).json() == [erasure]

    assert finish.clean_files(server.database, server.settings)
    told = server.http.get(f"/v1/erasures/{erasure['id']}").json()
    assert (told["state"], told["files_gone_at"] is not None) == ("files_gone", True)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"user": ""},
        {"user": "ada", "feedback": "fb-1"},
        {"key": "x"},
        {"contributor": "x", "key": "y"},
        {"who": "ada"},
    ],
)
def test_one_thing_has_to_be_named(server: Deployment, shop: str, body: dict[str, str]) -> None:
    answer = server.http.post(f"/v1/assistants/{shop}/erasures", json=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_only_operators_who_see_the_assistant_erase(server: Deployment, shop: str) -> None:
    correct(server, shop, "ada")
    url = f"/v1/assistants/{shop}/erasures"
    made = server.http.post(url, json={"user": "ada"}).json()["erasure"]["id"]
    for role, assistant, status in ((Role.REVIEWER, shop, 403), (Role.OPERATOR, "garden", 404)):
        headers = bearer(server.make_key(role, assistant))
        assert server.anyone.post(url, json={"user": "ada"}, headers=headers).status_code == status
        assert server.anyone.get(url, headers=headers).status_code == status
        assert server.anyone.get(f"/v1/erasures/{made}", headers=headers).status_code == status
    assert server.anyone.post(url, json={"user": "ada"}).status_code == 401
    assert server.http.get("/v1/erasures/er-none").status_code == 404


def test_a_giver_takes_their_words_back_without_a_key_and_may_ask_again(server: Deployment, shop: str) -> None:
    given = correct(server, shop, "ada")
    first = server.anyone.delete(f"/v1/feedback/{given['receipt']}")
    assert (first.status_code, first.json()["state"]) == (200, "rows_gone")
    assert server.anyone.delete(f"/v1/feedback/{given['receipt']}").json() == first.json()
    with server.database.read() as session, pytest.raises(NotFound):
        get_feedback(session, given["id"])
    assert server.anyone.get(f"/v1/feedback/{given['receipt']}").status_code == 404
    assert server.anyone.delete("/v1/feedback/rcpt-none").status_code == 404


def test_a_tainted_version_that_serves_is_told_and_cant_come_back_by_itself(server: Deployment, shop: str) -> None:
    for _ in range(2):
        server.promote(server.publish_version(shop), shop)
    eventually(lambda: server.serves(f"{shop}@2"), "it serves")
    with server.database.write() as session:  # as an erasure does
        assistant = assistants.get_assistant(session, shop)
        for version in adapters.list_versions(session, assistant)[1:]:
            version.tainted_at, version.tainted_reason = now(), "Something was erased."
    eventually(lambda: f"{shop}: tainted" in server.ready().json()["problems"], "the taint is told")
    versions = server.http.get(f"/v1/assistants/{shop}/versions").json()
    assert [one["tainted_at"] is not None for one in versions] == [False, True, True]
    refused = server.http.post(f"/v1/assistants/{shop}/promote", json={"version": 1, "force": True})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "version_tainted")
    url = f"/v1/assistants/{shop}/rollback"
    assert server.http.post(url, json={}).json()["error"]["code"] == "version_tainted"
    assert server.http.post(url, json={"accept_tainted": True}).json()["live"] == f"{shop}@1"
    assert server.http.post(f"/v1/assistants/{shop}/promote", json={"version": 0}).status_code == 200
    eventually(lambda: f"{shop}: tainted" not in server.ready().json()["problems"], "the base is never tainted")
