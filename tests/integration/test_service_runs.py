"""Runs over HTTP: seen by the operators of their assistant alone, followed to their end by server-sent events."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
from burnish_server import Deployment, bearer, eventually

from feedback import files, runs
from feedback.run_folder import attempt_folder
from feedback.runs import Claim
from feedback.states import Role


def queue(server: Deployment, name: str = "support", **body: Any) -> dict[str, Any]:
    answer = server.http.post(f"/v1/assistants/{name}/runs", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def claim(server: Deployment) -> Claim:
    held = runs.claim(server.database, "a worker", 60)
    assert held is not None
    return held


def cancel(server: Deployment, run_id: str) -> None:
    assert server.http.post(f"/v1/runs/{run_id}/cancel").status_code == 200


def test_a_run_is_queued_moved_cancelled_retried_and_listed(server: Deployment) -> None:
    run = queue(server, priority=2, search_trials=8)
    assert (run["status"], run["priority"], run["search_trials"], run["progress"]) == ("queued", 2, 8, None)
    assert run["waits_for"].startswith("a worker: none was seen")
    moved = server.http.post(f"/v1/runs/{run['id']}", json={"priority": 7}).json()
    assert moved["priority"] == 7
    assert server.http.post(f"/v1/runs/{run['id']}", json={"priority": 1001}).status_code == 400
    assert server.http.post(f"/v1/runs/{run['id']}/retry").json()["error"]["code"] == "conflict"
    cancel(server, run["id"])
    assert server.http.post(f"/v1/runs/{run['id']}/retry").json()["status"] == "queued"
    told = server.http.get(f"/v1/runs/{run['id']}").json()
    assert (told["id"], told["attempt"], told["provenance"]) == (run["id"], 1, None)
    cancel(server, run["id"])
    assert server.http.post("/v1/assistants/garden/runs", json={"search_trials": 65}).status_code == 400
    newer = queue(server, "garden")
    assert newer["search_trials"] is None
    page = server.http.get("/v1/runs", params={"limit": 1}).json()
    assert ([one["id"] for one in page["data"]], page["has_more"]) == ([newer["id"]], True)
    rest = server.http.get("/v1/runs", params={"after": page["last_id"], "assistant": "support"}).json()
    assert rest["data"][0]["id"] == run["id"]
    only = server.http.get("/v1/runs", params={"status": "queued"}).json()
    assert [one["id"] for one in only["data"]] == [newer["id"]]
    cancel(server, newer["id"])


def test_keys_of_other_assistants_and_lesser_roles_see_nothing(server: Deployment) -> None:
    run = queue(server)
    stranger = bearer(server.make_key(Role.OPERATOR, "garden"))
    paths = [f"/v1/runs/{run['id']}{end}" for end in ("", "/events", "/cancel", "/retry")]
    for method, path in zip(("GET", "GET", "POST", "POST"), paths, strict=True):
        answer = server.anyone.request(method, path, headers=stranger)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "run_not_found"), path
        assert server.anyone.request(method, path.replace(run["id"], "run-none"), headers=stranger).status_code == 404
    assert server.anyone.post(paths[0], headers=stranger, json={"priority": 1}).status_code == 404
    listed = server.anyone.get("/v1/runs", headers=stranger).json()["data"]
    assert {one["assistant"] for one in listed} <= {"garden"}
    assert server.anyone.get("/v1/runs", headers=stranger, params={"after": run["id"]}).status_code == 404
    assert server.anyone.get("/v1/runs", headers=stranger, params={"assistant": "support"}).status_code == 404
    for role in (Role.CHAT, Role.REVIEWER):
        headers = bearer(server.make_key(role))
        assert [server.anyone.get(path, headers=headers).status_code for path in ("/v1/runs", *paths[:2])] == [403] * 3
    cancel(server, run["id"])


def data(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line == "data: [DONE]":
            return
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def test_a_run_is_followed_to_its_end(server: Deployment) -> None:
    run = queue(server)
    told: list[dict[str, Any]] = []

    def follow() -> None:
        with server.http.stream("GET", f"/v1/runs/{run['id']}/events") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            for one in data(stream.iter_lines()):
                told.append(one)

    following = threading.Thread(target=follow)
    following.start()
    held = claim(server)
    metrics = {
        "stage": "sft",
        "step": 5,
        "total_steps": 20,
        "loss_history": [{"loss": 1.5}, {"loss": None}],
        "eta_seconds": 30.0,
        "tokens_per_second": 250.0,
        "written_at": time.time(),
    }
    files.write_json(attempt_folder(server.settings.runs / run["id"], held.attempt) / "metrics.json", metrics)
    eventually(
        lambda: server.http.get(f"/v1/runs/{run['id']}").json()["progress"], "the service reads the run's folder"
    )
    eventually(lambda: told and told[-1]["progress"], "the stream, which looks once a second, tells of the progress")
    cancel(server, run["id"])
    following.join(60)
    assert not following.is_alive(), "the stream ends with the run"
    assert told[-1]["status"] == "cancelled"
    assert told[-1]["progress"]["eta_seconds"] is None
    (under_way,) = [one["progress"] for one in told if one["status"] == "running" and one["progress"]][-1:]
    assert {name: under_way[name] for name in ("stage", "step", "total_steps", "loss", "tokens_per_second")} == {
        "stage": "sft",
        "step": 5,
        "total_steps": 20,
        "loss": 1.5,
        "tokens_per_second": 250.0,
    }
    assert 20 < under_way["eta_seconds"] <= 30


def test_a_stream_that_is_followed_does_not_hold_up_the_services_end(own_deployment: Deployment) -> None:
    own_deployment.start()
    run = queue(own_deployment)
    with own_deployment.http.stream("GET", f"/v1/runs/{run['id']}/events") as stream:
        lines = stream.iter_lines()
        assert next(data(lines))["status"] == "queued"
        began = time.monotonic()
        assert own_deployment.stop() == 0
        assert time.monotonic() - began < 8
        try:
            assert "data: [DONE]" not in list(lines), "the run hasn't ended"
        except httpx.RemoteProtocolError:
            raise AssertionError("the stream was torn") from None
