"""Webhooks on a running service: what arrives, signed so that a receiver can tell; again when it didn't."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from burnish_server import Deployment, deployment, eventually
from sqlmodel import select

from feedback.columns import now
from feedback.testing import House
from feedback.webhooks import deliveries, hooks
from feedback.webhooks.models import WebhookDelivery


class Receiver(HTTPServer):
    """Listens on a port of its own; answers with the statuses given, the last one for ever."""

    def __init__(self, *statuses: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[dict[str, str], bytes]] = []
        self.statuses = list(statuses)
        self.url = f"http://127.0.0.1:{self.server_port}/hook"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def told(self) -> list[str]:
        return [json.loads(body)["type"] for _, body in self.seen]


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.seen.append(({name.lower(): value for name, value in self.headers.items()}, body))
        statuses = self.server.statuses
        self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A service that may tell this machine."""
    with deployment(tmp_path_factory.mktemp("hooks"), webhooks_to_private=True) as made:
        yield made.start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver(204)
    yield made
    made.shutdown()


def hook(server: Deployment, name: str, url: str, *events: str) -> dict[str, Any]:
    made = server.http.post(f"/v1/assistants/{name}/webhooks", json={"url": url, "events": list(events)})
    assert made.status_code == 201, made.text
    return dict(made.json())


def test_a_release_is_told_signed(server: Deployment, receiver: Receiver) -> None:
    name = server.make_assistant("hooked")
    server.publish_version(name)
    made = hook(server, name, receiver.url, "release.")
    server.http.post(f"/v1/assistants/{name}/promote", json={"version": 1, "reason": "better"})
    eventually(lambda: receiver.told() == ["release.live"], "it is told", 10)
    headers, body = receiver.seen[0]
    assert json.loads(body)["data"] == {
        "assistant": name, "version": f"{name}@1", "percent": 100, "by": json.loads(body)["data"]["by"],
        "reason": "better",
    }  # fmt: skip
    key = base64.b64decode(made["secret"].removeprefix("whsec_"))
    said = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body.decode()}".encode()
    expected = base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    server.http.post(f"/v1/assistants/{name}/rollback", json={})
    eventually(lambda: receiver.told() == ["release.live", "release.rolled_back"], "the way back is told", 10)
    listed = server.http.get(f"/v1/assistants/{name}/webhooks").json()["data"]
    assert [(one["id"], one["secret"]) for one in listed] == [(made["id"], None)]


def test_what_was_not_taken_comes_again_under_the_same_id(server: Deployment) -> None:
    receiver = Receiver(302, 200)  # a redirect isn't followed: it might lead to a place of somebody else's
    name = server.make_assistant("hooked-again")
    server.publish_version(name)
    made = hook(server, name, receiver.url, "release.")
    server.http.post(f"/v1/assistants/{name}/promote", json={"version": 1})
    eventually(lambda: len(receiver.seen) == 2, "it comes again", 20)
    assert len({headers["webhook-id"] for headers, _ in receiver.seen}) == 1

    def log() -> list[dict[str, Any]]:
        address = f"/v1/assistants/{name}/webhooks/{made['id']}/deliveries"
        return list(server.http.get(address).json()["data"])

    eventually(lambda: log()[0]["delivered_at"] is not None, "it is noted", 10)
    assert (log()[0]["attempts"], log()[0]["answer"], log()[0]["next_at"]) == (2, "HTTP 200", None)
    receiver.shutdown()


def test_it_waits_ever_longer_and_gives_up(house: House) -> None:
    with house.database.write() as session:
        hooks.add(session, house.assistant, "https://example.org", actor="test")
        hooks.tell(session, house.assistant, "run.failed", run="run-1")
    waits = []
    for _ in range(len(deliveries.RETRY_SECONDS) + 1):
        (parcel,) = deliveries.take_due(house.database)
        assert deliveries.take_due(house.database) == [], "nobody else has it meanwhile"
        before = now()
        deliveries.note(house.database, parcel.delivery_id, arrived=False, answer="HTTP 500")
        with house.database.write() as session:
            delivery = session.exec(select(WebhookDelivery)).one()
            if delivery.next_at is not None:
                waits.append(round((delivery.next_at - before).total_seconds()))
                delivery.next_at = before
                session.add(delivery)
    assert waits == list(deliveries.RETRY_SECONDS)
    assert deliveries.take_due(house.database) == []


def test_only_what_is_wanted_is_told_and_nothing_after_removal(server: Deployment, receiver: Receiver) -> None:
    name = server.make_assistant("hooked-less")
    server.publish_version(name)
    made = hook(server, name, receiver.url, "run.")
    server.http.post(f"/v1/assistants/{name}/promote", json={"version": 1})
    run = server.http.post(f"/v1/assistants/{name}/runs", json={}).json()
    server.http.post(f"/v1/runs/{run['id']}/cancel")
    eventually(lambda: receiver.told() == ["run.cancelled"], "the run is told", 10)
    assert server.http.delete(f"/v1/assistants/{name}/webhooks/{made['id']}").status_code == 204
    server.http.post(f"/v1/assistants/{name}/rollback", json={})
    assert server.http.get(f"/v1/assistants/{name}/webhooks").json()["data"] == []
    assert receiver.told() == ["run.cancelled"]


def test_the_deployment_s_own_network_is_told_nothing_unless_that_is_allowed(
    own_deployment: Deployment, receiver: Receiver
) -> None:
    own_deployment.start()
    made = hook(own_deployment, "support", receiver.url)
    run = own_deployment.http.post("/v1/assistants/support/runs", json={}).json()
    own_deployment.http.post(f"/v1/runs/{run['id']}/cancel")

    def answer() -> str | None:
        address = f"/v1/assistants/support/webhooks/{made['id']}/deliveries"
        found = own_deployment.http.get(address).json()["data"]
        return found[0]["answer"] if found else None

    told = eventually(answer, "it is refused", 15)
    assert "BURNISH_WEBHOOKS_TO_PRIVATE" in told
    assert receiver.seen == []


@pytest.mark.parametrize(
    "url", ["ftp://example.org", "https://", "http://user:word@example.org", "no address", "http://[::1", "http://a:b/"]
)
def test_an_address_that_can_t_be_is_refused(server: Deployment, url: str) -> None:
    refused = server.http.post("/v1/assistants/support/webhooks", json={"url": url})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "url"


def test_an_unknown_event_is_refused(server: Deployment) -> None:
    body = {"url": "https://example.org", "events": ["weather"]}
    refused = server.http.post("/v1/assistants/support/webhooks", json=body)
    assert refused.status_code == 400
    assert "weather" in refused.json()["error"]["message"]
