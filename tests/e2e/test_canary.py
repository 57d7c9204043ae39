"""A canary that is worse takes itself back on the real engine, under traffic, and nobody's request fails."""

import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from adapters import make_one_word_adapter
from burnish_server import Deployment, deployment, eventually

from feedback.config import BUNDLED_MODEL
from feedback.states import VerdictWord

pytestmark = pytest.mark.model

CLIENTS = 6
WORSE = "amber"
"""All that the canary says, made so on purpose."""
QUESTION = "Name a colour."


def test_a_canary_made_worse_takes_itself_back_and_no_request_fails(tmp_path: Path, models_folder: Path) -> None:
    """Strangers stream replies all the while; others choose blindly, and take what isn't the canary's."""
    with deployment(tmp_path, engine="local", base_model=BUNDLED_MODEL, models_folder=models_folder) as house:
        adapter = make_one_word_adapter(models_folder / BUNDLED_MODEL, tmp_path / "worse", f" {WORSE}")
        version = house.publish_version(source=adapter, verdict=VerdictWord.PROMOTE)
        house.start()
        done = house.burnish("assistant", "set", "support", "release.canary_percents=[50]")
        assert done.returncode == 0, done.stderr
        promoted = house.http.post("/v1/assistants/support/promote", json={"version": version.number})
        assert promoted.json()["state"] == "canary", promoted.text
        crowd = Crowd(house)
        crowd.start()
        try:
            eventually(lambda: crowd.errors or len(crowd.models) == 2, "both versions answer")
            votes, began = 0, time.monotonic()
            while trial(house) is not None and votes < 80:
                vote_against_the_canary(house, f"voter-{votes}")
                votes += 1
            eventually(lambda: trial(house) is None, "it is taken back", 30)
            seconds, after = time.monotonic() - began, crowd.replies
            eventually(lambda: crowd.errors or crowd.replies >= after + 2 * CLIENTS, "the traffic goes on")
        finally:
            crowd.stop()
        print(f"{votes} votes in {seconds:.1f} s took it back; {crowd.replies} replies streamed beside: {crowd.models}")
        assert crowd.errors == []
        assert 8 <= votes < 80
        assert {house.ask(QUESTION, user=f"late-{number}", max_tokens=4)["model"] for number in range(12)} == {
            "support@0"
        }
        told = house.http.get("/v1/assistants/support/changelog").json()
        assert "blind choices went to the other version" in str(told)


def trial(house: Deployment) -> Any:
    return house.http.get("/v1/assistants/support/trial").json()


def vote_against_the_canary(house: Deployment, user: str) -> None:
    asked = {
        "model": "support", "user": user, "max_tokens": 4, "messages": [{"role": "user", "content": QUESTION}],
    }  # fmt: skip
    made = house.http.post("/v1/comparisons", json=asked).raise_for_status().json()
    canaries = [WORSE in choice["message"]["content"] for choice in made["choices"]]
    if sum(canaries) == 1:
        choice = {"choice": canaries.index(False), "user": user}
        house.http.post(f"/v1/comparisons/{made['id']}/choice", json=choice).raise_for_status()


class Crowd:
    """Clients that stream one reply after the other, each as somebody new."""

    def __init__(self, house: Deployment) -> None:
        self._client = house.openai().with_options(max_retries=0, http_client=httpx.Client(timeout=120))
        self._over = threading.Event()
        self.models: Counter[str] = Counter()
        self.errors: list[str] = []
        self._threads = [threading.Thread(target=self._chat, args=(number,)) for number in range(CLIENTS)]

    @property
    def replies(self) -> int:
        return sum(self.models.values())

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _chat(self, number: int) -> None:
        turn = 0
        while not self._over.is_set():
            turn += 1
            try:
                self._ask(f"guest-{number}-{turn}")
            except Exception as error:
                self.errors.append(repr(error))
                return

    def _ask(self, user: str) -> None:
        messages: Any = [{"role": "user", "content": QUESTION}]
        chunks = list(
            self._client.chat.completions.create(
                model="support", messages=messages, user=user, temperature=0, max_tokens=8, stream=True
            )
        )
        (model,) = {chunk.model for chunk in chunks}
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert chunks[-1].choices[0].finish_reason in ("length", "stop"), text
        assert (WORSE in text) == (model == "support@1"), f"{model} said {text!r}"
        self.models[model] += 1
