"""Clients chat without pause while versions are promoted and rolled back: nobody notices but by the `model`."""

import itertools
import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from adapters import make_adapter
from burnish_server import Deployment, deployment, eventually

from feedback.config import BUNDLED_MODEL

pytestmark = pytest.mark.model

CLIENTS = int(os.environ.get("BURNISH_TEST_CLIENTS", "20"))
QUESTION = "Name a colour and say why you like it."


def test_no_request_is_dropped_or_mixed_while_versions_change(tmp_path: Path, models_folder: Path) -> None:
    with deployment(tmp_path, engine="local", base_model=BUNDLED_MODEL, models_folder=models_folder) as house:
        base = models_folder / BUNDLED_MODEL
        made = [make_adapter(base, tmp_path / f"adapter-{seed}", seed=seed)[1] for seed in (1, 2)]
        versions = [house.publish_version(source=adapter) for adapter in made]
        house.start()
        # what each version says to this question, greedily, when nothing else runs
        alone = {
            model: house.ask(QUESTION, model=model, temperature=0, max_tokens=8)["choices"][0]["message"]["content"]
            for model in ("support@0", "support@1", "support@2")
        }
        assert len(set(alone.values())) == 3
        chatter = Chatter(house, CLIENTS)
        chatter.start()
        try:
            for move in (
                lambda: house.promote(versions[0]),
                lambda: house.promote(versions[1]),
                lambda: house.http.post("/v1/assistants/support/rollback", json={}).raise_for_status(),
            ):
                chatter.wait_for_more(CLIENTS)
                began = time.monotonic()
                move()
                expected = {0: "support@1", 1: "support@2", 2: "support@1"}[chatter.moves]
                eventually(lambda model=expected: house.serves(model), f"{expected} serves", seconds=20)
                chatter.moves += 1
                chatter.seconds.append(round(time.monotonic() - began, 2))
            chatter.wait_for_more(CLIENTS)
        finally:
            chatter.stop()
    print(f"{CLIENTS} clients, {dict(chatter.models)} replies, swaps took {chatter.seconds} s")
    assert chatter.errors == []
    assert set(chatter.models) == {"support@0", "support@1", "support@2"}
    for model, texts in chatter.texts.items():
        for text in texts:
            assert agrees(text, alone[model], [alone[other] for other in alone if other != model]), (model, text)


def agrees(text: str, own: str, others: list[str]) -> bool:
    """Whether a reply begins as its version's own does for longer than as any other's.

    In a batch, bfloat16 sums in another order, so a version's own greedy text may end differently; it never turns
    into another version's.
    """

    def shared(other: str) -> int:
        return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(text, other, strict=False)))

    return text == own or all(shared(own) >= shared(other) for other in others)


class Chatter:
    """Clients that stream one reply after the other."""

    def __init__(self, house: Deployment, clients: int) -> None:
        self._client = house.openai().with_options(max_retries=0, http_client=httpx.Client(timeout=120))
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._chat) for _ in range(clients)]
        self.models: Counter[str] = Counter()
        self.texts: dict[str, set[str]] = {}
        self.errors: list[str] = []
        self.moves = 0
        self.seconds: list[float] = []

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self, count: int) -> None:
        target = self.models.total() + count
        eventually(lambda: self.errors or self.models.total() >= target, f"{count} more replies", seconds=120)

    def _chat(self) -> None:
        while not self._stopping.is_set():
            try:
                chunks = list(self._stream())
            except openai.OpenAIError as error:
                self.errors.append(repr(error))
                return
            (model,) = {chunk.model for chunk in chunks}
            self.models[model] += 1
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
            self.texts.setdefault(model, set()).add(text)

    def _stream(self) -> Any:
        return self._client.chat.completions.create(
            model="support",
            messages=[{"role": "user", "content": QUESTION}],
            temperature=0,
            max_tokens=8,
            stream=True,
        )
