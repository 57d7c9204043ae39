"""Clients chat without pause while versions are promoted and rolled back: nobody notices but by the `model`."""

import itertools
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from adapters import make_one_word_adapter
from burnish_server import Deployment, deployment, eventually

from feedback.config import BUNDLED_MODEL

pytestmark = pytest.mark.model

CLIENTS = int(os.environ.get("BURNISH_TEST_CLIENTS", "20"))
QUESTION = "Name a colour."
TOKENS = 4
WORDS = {"support@1": " amber", "support@2": " cobalt"}
"""What the versions were made to write, and nothing else; support@0 is the bare model.

So each token says which version wrote it, from a reply's first to its last. Comparing with what a version says alone
would not do: in a batch bfloat16 sums in another order, and an honest greedy reply may go on differently.
"""


def test_no_request_is_dropped_or_mixed_while_versions_change(tmp_path: Path, models_folder: Path) -> None:
    """Two promotions and a rollback under streams of many clients.

    No stream fails or ends early; each names one version, and every token of it is that version's; each client is
    answered by every version in turn, never by an older one again; replies under way at a swap end as they began.
    """
    with deployment(tmp_path, engine="local", base_model=BUNDLED_MODEL, models_folder=models_folder) as house:
        base = models_folder / BUNDLED_MODEL
        made = [make_one_word_adapter(base, tmp_path / f"adapter-{model}", word) for model, word in WORDS.items()]
        versions = [house.publish_version(source=adapter) for adapter in made]
        house.start()
        for model in ("support@0", *WORDS):
            answer = house.ask(QUESTION, model=model, temperature=0, max_tokens=TOKENS)
            assert is_by(model, answer["choices"][0]["message"]["content"], TOKENS)
        chatter = Chatter(house, CLIENTS)
        served, moved, seconds = ["support@0"], [], []
        chatter.start()
        try:
            chatter.wait_for_each("support@0", 0)
            for model, move in (
                ("support@1", lambda: house.promote(versions[0])),
                ("support@2", lambda: house.promote(versions[1])),
                ("support@1", lambda: house.http.post("/v1/assistants/support/rollback", json={}).raise_for_status()),
            ):
                moved.append(time.monotonic())
                move()
                eventually(lambda model=model: house.serves(model), f"{model} serves", seconds=20)
                served.append(model)
                seconds.append(round(time.monotonic() - moved[-1], 2))
                chatter.wait_for_each(model, moved[-1])
        finally:
            chatter.stop()
    replies = [reply for client in chatter.replies for reply in client]
    print(f"{CLIENTS} clients, {len(replies)} replies, swaps took {seconds} s")
    assert chatter.errors == []
    assert [reply for reply in replies if not is_by(reply.model, reply.text, reply.tokens)] == []
    for client in chatter.replies:
        assert [model for model, _ in itertools.groupby(reply.model for reply in client)] == served
    across = [under_way(replies, *swap) for swap in zip(served, served[1:], moved, strict=False)]
    assert all(across), f"replies that went on through each swap: {across}"


def is_by(model: str, text: str, tokens: int) -> bool:
    """Whether every one of the text's tokens is of this version."""
    if model in WORDS:
        return text.strip() == (WORDS[model] * tokens).strip()
    return text != "" and not any(word in text for word in WORDS.values())


@dataclass(frozen=True)
class Reply:
    model: str
    text: str
    tokens: int
    asked: float
    begun: float
    ended: float


def under_way(replies: list[Reply], old: str, new: str, moved: float) -> int:
    """How many replies of the old version were being written when the new one began its first after the move."""
    fresh = min(reply.begun for reply in replies if reply.model == new and reply.begun > moved)
    return sum(1 for reply in replies if reply.model == old and reply.begun < fresh < reply.ended)


class Chatter:
    """Clients that stream one reply after the other."""

    def __init__(self, house: Deployment, clients: int) -> None:
        self._client = house.openai().with_options(max_retries=0, http_client=httpx.Client(timeout=120))
        self._stopping = threading.Event()
        self.replies: list[list[Reply]] = [[] for _ in range(clients)]
        self.errors: list[str] = []
        self._threads = [threading.Thread(target=self._chat, args=(number,)) for number in range(clients)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def wait_for_each(self, model: str, since: float) -> None:
        """Until each client has a whole reply of this version that it asked for since then."""

        def answered() -> bool:
            return all(
                any(reply.model == model and reply.asked >= since for reply in list(client)) for client in self.replies
            )

        eventually(lambda: self.errors or answered(), f"{model} answers each client", seconds=120)

    def _chat(self, number: int) -> None:
        tokens = TOKENS + number % 4  # different lengths, so that the replies' ends never fall together
        while not self._stopping.is_set():
            try:
                self.replies[number].append(self._ask(tokens))
            except Exception as error:
                self.errors.append(repr(error))
                return

    def _ask(self, tokens: int) -> Reply:
        """Read one stream to its end, which is a finish_reason and nothing after it."""
        asked = time.monotonic()
        stream = self._client.chat.completions.create(
            model="support",
            messages=[{"role": "user", "content": QUESTION}],
            temperature=0,
            max_tokens=tokens,
            stream=True,
        )
        models, text, times, reasons = set(), "", [], []
        for chunk in stream:
            (choice,) = chunk.choices
            models.add(chunk.model)
            text += choice.delta.content or ""
            reasons.append(choice.finish_reason)
            times.append(time.monotonic())
        assert len(models) == 1, f"one stream named {models}"
        assert reasons[-1:] in (["length"], ["stop"]), f"the stream ended with {reasons[-2:]} after {text!r}"
        assert not any(reasons[:-1]), f"the stream went on after {reasons}"
        return Reply(models.pop(), text, tokens, asked, times[0], times[-1])
