"""Releases on a running service: effective within seconds, without an error, and never a broken version."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from burnish_server import Deployment, bearer, deployment, eventually

from feedback.adapters import folder_of
from feedback.models import AdapterVersion
from feedback.states import Role, VerdictWord

EFFECTIVE_SECONDS = 2.0
"""How soon a release is promised to answer."""


@pytest.fixture
def shop(server: Deployment, request: pytest.FixtureRequest) -> str:
    """An assistant of the test's own on the shared service."""
    return server.make_assistant(f"shop-{abs(hash(request.node.name)) % 10**8}")


def answering(server: Deployment, name: str) -> str:
    return str(server.ask("who?", name)["model"])


def text_of(answer: dict[str, Any]) -> str:
    return str(answer["choices"][0]["message"]["content"])


def test_a_version_promoted_and_rolled_back_by_api_answers_within_two_seconds(server: Deployment, shop: str) -> None:
    version = server.publish_version(shop)
    assert answering(server, shop) == f"{shop}@0"
    promoted = server.http.post(f"/v1/assistants/{shop}/promote", json={"version": 1, "reason": "better"})
    assert promoted.json() == {
        "live": f"{shop}@1", "replaced": f"{shop}@0", "reason": "better", "version": f"{shop}@1", "state": "live",
        "percent": 100.0, "approved_by": [], "approvals_needed": 1,
    }  # fmt: skip
    eventually(lambda: answering(server, shop) == f"{shop}@1", "the promoted version answers", EFFECTIVE_SECONDS)
    answer = server.ask("who?", shop)
    assert text_of(answer) == f"[{version.sha256[:8]}] who?"
    assert server.version_label(server.replies(answer["id"])[0]) == f"{shop}@1"
    back = server.http.post(f"/v1/assistants/{shop}/rollback", json={})
    assert (back.status_code, back.json()["live"]) == (200, f"{shop}@0")
    eventually(lambda: answering(server, shop) == f"{shop}@0", "the old version answers", EFFECTIVE_SECONDS)
    assert text_of(server.ask("who?", shop)) == "[base] who?"


def test_a_version_promoted_and_rolled_back_by_command_answers_within_two_seconds(
    server: Deployment, shop: str
) -> None:
    server.publish_version(shop)
    done = server.burnish("adapters", "promote", f"{shop}@1", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"live": f"{shop}@1"})
    eventually(lambda: answering(server, shop) == f"{shop}@1", "the promoted version answers", EFFECTIVE_SECONDS)
    done = server.burnish("adapters", "rollback", shop, "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"live": f"{shop}@0"})
    eventually(lambda: answering(server, shop) == f"{shop}@0", "the old version answers", EFFECTIVE_SECONDS)


def test_a_version_can_be_asked_by_number_before_it_is_live(server: Deployment, shop: str) -> None:
    version = server.publish_version(shop)
    answer = server.ask("who?", f"{shop}@1")
    assert (answer["model"], text_of(answer)) == (f"{shop}@1", f"[{version.sha256[:8]}] who?")
    assert answering(server, shop) == f"{shop}@0"


def test_only_a_version_found_better_goes_live_without_force(server: Deployment, shop: str) -> None:
    server.publish_version(shop, verdict=VerdictWord.REJECT)
    refused = server.http.post(f"/v1/assistants/{shop}/promote", json={"version": 1})
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "verdict_not_promote"
    forced = server.http.post(f"/v1/assistants/{shop}/promote", json={"version": 1, "force": True})
    assert forced.status_code == 200


@pytest.mark.parametrize(
    ("deed", "body", "status"),
    [
        ("promote", {"version": 7}, 404),
        ("promote", {"version": 0}, 400),
        ("promote", {"version": -1}, 400),
        ("promote", {"version": 10**30}, 400),
        ("promote", {}, 400),
        ("promote", {"version": 1, "hurry": True}, 400),
        ("rollback", {}, 400),
    ],
)
def test_a_release_that_makes_no_sense_is_refused(
    server: Deployment, deed: str, body: dict[str, Any], status: int
) -> None:
    answer = server.http.post(f"/v1/assistants/garden/{deed}", json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_operators_read_assistants_versions_and_runs(server: Deployment, shop: str) -> None:
    version = server.publish_version(shop)
    headers = bearer(server.make_key(Role.OPERATOR, shop))
    (listed,) = server.http.get("/v1/assistants", headers=headers).json()
    assert (listed["name"], listed["live"]) == (shop, f"{shop}@0")
    versions = server.http.get(f"/v1/assistants/{shop}/versions", headers=headers).json()
    assert [one["version"] for one in versions] == [f"{shop}@0", f"{shop}@1"]
    assert (versions[1]["sha256"], versions[1]["verdict"]) == (version.sha256, "PROMOTE")
    asked = server.http.post(f"/v1/assistants/{shop}/runs", json={"reason": "to see"}, headers=headers)
    assert asked.status_code == 201
    second = server.http.post(f"/v1/assistants/{shop}/runs", json={}, headers=headers)
    assert (second.status_code, second.json()["error"]["code"]) == (400, "conflict")
    cancelled = server.http.post(f"/v1/runs/{asked.json()['id']}/cancel", headers=headers)
    assert cancelled.json()["status"] == "cancelled"
    runs = server.http.get(f"/v1/assistants/{shop}/runs", headers=headers).json()
    assert [run["status"] for run in runs] == ["cancelled", "succeeded"]
    stranger = bearer(server.make_key(Role.OPERATOR, "garden"))
    there = server.http.post(f"/v1/runs/{asked.json()['id']}/cancel", headers=stranger)
    nowhere = server.http.post("/v1/runs/run-nowhere/cancel", headers=stranger)
    assert there.status_code == nowhere.status_code == 404
    assert {**there.json()["error"], "message": ""} == {**nowhere.json()["error"], "message": ""}


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[Deployment]:
    """A service that keeps only two versions loaded beside the live ones, so that it loads and unloads all the time."""
    with deployment(tmp_path, max_adapters=2) as made:
        yield made.start()


def test_eight_clients_chat_through_promotions_and_rollbacks_without_an_error(narrow: Deployment) -> None:
    versions = [narrow.publish_version() for _ in range(4)]
    hashes = {f"support@{version.number}": version.sha256[:8] for version in versions} | {"support@0": "base"}
    done, seen, problems = threading.Event(), set[str](), list[str]()

    def chat(number: int) -> None:
        client, said = narrow.openai(), 0
        while not done.is_set():
            said += 1
            words = f"client {number} says {said}"
            try:
                model, text = ask(client, words, said % 2 == 0)
            except Exception as error:
                problems.append(f"{type(error).__name__}: {error}")
                return
            seen.add(model)
            if text != f"[{hashes[model]}] {words}":
                problems.append(f"{model} said {text!r}")

    clients = [threading.Thread(target=chat, args=(number,)) for number in range(8)]
    for client in clients:
        client.start()
    try:
        for version in [*versions, *versions[:2]]:
            narrow.promote(version)
            eventually(lambda version=version: narrow.serves(f"support@{version.number}"), "it serves")
            time.sleep(0.1)
        for _ in range(4):
            before = narrow.ready().json()["serving"]
            assert narrow.http.post("/v1/assistants/support/rollback", json={}).status_code == 200
            eventually(lambda before=before: narrow.ready().json()["serving"] != before, "the older one serves")
    finally:
        done.set()
        for client in clients:
            client.join(60)
    assert problems == []
    assert seen >= {f"support@{version.number}" for version in versions}
    assert narrow.ready().json()["problems"] == {}


def ask(client: Any, words: str, stream: bool) -> tuple[str, str]:
    answer = client.chat.completions.create(
        model="support", messages=[{"role": "user", "content": words}], stream=stream
    )
    if not stream:
        return answer.model, answer.choices[0].message.content
    chunks = list(answer)
    (model,) = {chunk.model for chunk in chunks}
    return model, "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def damage(server: Deployment, version: AdapterVersion) -> None:
    folder = folder_of(server.settings.adapters, version)
    assert folder is not None
    tensors = folder / "adapter_model.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-4] + b"\xff\xff\xff\xff")


def test_a_release_with_damaged_files_keeps_the_old_version_and_says_so(server: Deployment, shop: str) -> None:
    good, bad = server.publish_version(shop), server.publish_version(shop)
    server.promote(good, shop)
    eventually(lambda: server.serves(f"{shop}@1"), "the good version serves")
    damage(server, bad)
    server.promote(bad, shop)
    eventually(lambda: shop in server.ready().json()["problems"], "the problem is told")
    ready = server.ready()
    assert ready.status_code == 200
    assert "changed after it was published" in ready.json()["problems"][shop]
    assert answering(server, shop) == f"{shop}@1"
    damaged = server.http.post(
        "/v1/chat/completions", json={"model": f"{shop}@2", "messages": [{"role": "user", "content": "hi"}]}
    )
    assert damaged.status_code == 400
    assert damaged.json()["error"]["code"] == "adapter_refused"
    assert server.http.post(f"/v1/assistants/{shop}/rollback", json={}).status_code == 200
    eventually(lambda: shop not in server.ready().json()["problems"], "the problem is gone")
    assert answering(server, shop) == f"{shop}@1"


def test_an_assistant_that_could_not_be_loaded_at_start_is_503_to_its_users_and_404_to_others(
    own_deployment: Deployment,
) -> None:
    own_deployment.make_assistant("garden")
    version = own_deployment.publish_version()
    own_deployment.promote(version)
    damage(own_deployment, version)
    own_deployment.start()
    body = {"model": "support", "messages": [{"role": "user", "content": "hi"}]}
    mine = own_deployment.http.post("/v1/chat/completions", json=body)
    assert mine.status_code == 503
    assert mine.json()["error"]["code"] == "engine_unavailable"
    headers = bearer(own_deployment.make_key(Role.CHAT, "garden"))
    theirs = own_deployment.http.post("/v1/chat/completions", json=body, headers=headers)
    assert theirs.status_code == 404
    assert own_deployment.ask("hello", "garden")["model"] == "garden@0"
