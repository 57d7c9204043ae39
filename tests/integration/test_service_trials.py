"""A version on trial on a running service: who gets it, that they keep it, that it goes when people turn it down."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from burnish_server import Deployment, bearer, deployment, eventually
from sqlmodel import select

from feedback import keys
from feedback.states import Role
from feedback.trials import ShadowReply


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("trials")) as made:
        yield made.start()


def assistant_with(shop: Deployment, name: str, *policy: str) -> str:
    shop.make_assistant(name)
    shop.publish_version(name)
    done = shop.burnish("assistant", "set", name, *(f"release.{setting}" for setting in policy))
    assert done.returncode == 0, done.stderr
    return name


def promote(shop: Deployment, name: str) -> dict[str, object]:
    answer = shop.http.post(f"/v1/assistants/{name}/promote", json={"version": 1})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def model_for(shop: Deployment, name: str, user: str, **more: object) -> str:
    return str(shop.ask("who?", name, user=user, **more)["model"])


def waits_until_both_serve(shop: Deployment, name: str) -> None:
    asked = [f"probe-{number}" for number in range(60)]
    eventually(lambda: len({model_for(shop, name, user) for user in asked}) == 2, "both versions answer", 10)


def test_a_canary_gets_its_share_and_each_conversation_stays_with_its_version(shop: Deployment) -> None:
    name = assistant_with(shop, "shares", "canary_percents=[30]")
    assert promote(shop, name)["state"] == "canary"
    waits_until_both_serve(shop, name)
    people = [f"person-{number}" for number in range(200)]
    first = {user: model_for(shop, name, user) for user in people}
    share = Counter(first.values())[f"{name}@1"] / len(people)
    assert 0.15 < share < 0.45  # 30 % ± 4.6 standard errors
    assert {user: model_for(shop, name, user) for user in people} == first
    grown = {user: shop.ask("and then?", name, user=user, metadata={"conversation_id": "c1"}) for user in people[:5]}
    again = {user: shop.ask("and now?", name, user=user, metadata={"conversation_id": "c1"}) for user in people[:5]}
    assert [one["model"] for one in grown.values()] == [one["model"] for one in again.values()]


def test_an_alpha_group_s_key_always_gets_the_canary(shop: Deployment) -> None:
    name = assistant_with(shop, "alpha", "canary_percents=[1]", 'canary_keys=["alpha-testers"]')
    with shop.database.write() as session:
        _, token = keys.create(session, "alpha-testers", Role.CHAT, [name], actor="test")
    promote(shop, name)
    body = {"model": name, "messages": [{"role": "user", "content": "who?"}]}

    def model() -> str:
        return str(shop.http.post("/v1/chat/completions", json=body, headers=bearer(token)).json()["model"])

    eventually(lambda: model() == f"{name}@1", "the alpha group gets it", 10)
    assert [model() for _ in range(10)] == [f"{name}@1"] * 10


def test_a_worse_canary_takes_itself_back_under_traffic_without_a_failed_request(shop: Deployment) -> None:
    """People choose blindly, and always the old version's reply; others chat all the while."""
    name = assistant_with(shop, "worse", "canary_percents=[50]", "canary_seconds=3600")
    promote(shop, name)
    waits_until_both_serve(shop, name)
    over, statuses = threading.Event(), Counter[int]()

    def chat(person: int) -> None:
        turn = 0
        while not over.is_set():
            body = {"model": name, "user": f"guest-{person}-{turn}", "messages": [{"role": "user", "content": "hi"}]}
            statuses[shop.http.post("/v1/chat/completions", json=body).status_code] += 1
            turn += 1

    with ThreadPoolExecutor(4) as guests:
        for person in range(4):
            guests.submit(chat, person)
        votes = 0
        try:
            while votes < 60 and shop.http.get(f"/v1/assistants/{name}/trial").json() is not None:
                vote_for_the_old(shop, name, f"voter-{votes}")
                votes += 1
            eventually(lambda: shop.http.get(f"/v1/assistants/{name}/trial").json() is None, "it is taken back", 20)
            time.sleep(1)
        finally:
            over.set()
    assert 8 <= votes <= 60
    assert set(statuses) == {200}
    assert statuses[200] > 20
    assert {model_for(shop, name, f"after-{number}") for number in range(40)} == {f"{name}@0"}


def vote_for_the_old(shop: Deployment, name: str, user: str) -> None:
    asked = {"model": name, "user": user, "messages": [{"role": "user", "content": "tea?"}]}
    made = shop.http.post("/v1/comparisons", json=asked).json()
    texts = [choice["message"]["content"] for choice in made["choices"]]
    old = next((place for place, text in enumerate(texts) if text.startswith("[base]")), None)
    if old is not None and not made["identical"]:
        shop.http.post(f"/v1/comparisons/{made['id']}/choice", json={"choice": old, "user": user})


def test_a_shadow_answers_beside_and_is_shown_to_nobody(shop: Deployment) -> None:
    name = assistant_with(shop, "shade", "shadow_replies=5", "canary_percents=[1]", "canary_replies=100000")
    promote(shop, name)

    def seen() -> int:
        with shop.database.read() as session:
            return len(session.exec(select(ShadowReply)).all())

    models = set()
    for number in range(200):
        models.add(model_for(shop, name, f"person-{number}"))
        if seen() >= 5:
            break
        time.sleep(0.05)
    assert models == {f"{name}@0"}
    with shop.database.read() as session:
        first = session.exec(select(ShadowReply)).first()
    assert first is not None
    assert (first.failed, first.completion_tokens) == (False, 2)
    eventually(
        lambda: (shop.http.get(f"/v1/assistants/{name}/trial").json() or {}).get("state") == "canary",
        "the canary begins", 15,
    )  # fmt: skip
