"""Clients that go on chatting while the candidate goes live, and count what they got."""

import itertools
import threading
import time
from collections import Counter
from types import TracebackType

import httpx

from feedback.demo.product import Product
from feedback.demo.stage import Stage

CLIENTS = 2
PAUSE_SECONDS = 10.0
"""Between two requests of a client while training needs the processor; none around the swap."""
SWAP_SECONDS = 5.0
"""How long to go on without pause after the run has ended: the service looks for releases twice a second."""


class Audience:
    def __init__(self, stage: Stage, product: Product) -> None:
        self._stage = stage
        self._questions = [text for fact in product.facts for text in fact.phrasings]
        self._leave = threading.Event()
        self._hurry = threading.Event()
        self._threads = [threading.Thread(target=self._chat, args=(index,), daemon=True) for index in range(CLIENTS)]
        self.models: Counter[str] = Counter()
        self.dropped = 0
        self.swap_requests = 0

    @property
    def requests(self) -> int:
        return self.models.total() + self.dropped

    def __enter__(self) -> "Audience":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave.set()
        self._hurry.set()
        for thread in self._threads:
            thread.join(60)

    def watch_swap(self) -> None:
        before = self.requests
        self._hurry.set()
        time.sleep(SWAP_SECONDS)
        self.swap_requests = self.requests - before
        self.__exit__(None, None, None)

    def _chat(self, index: int) -> None:
        for question in itertools.cycle(self._questions[index::CLIENTS]):
            if self._leave.is_set():
                return
            try:
                reply = self._stage.chat(
                    messages=[{"role": "user", "content": question}], max_tokens=12, store=False, user=f"guest-{index}"
                )
                self.models[reply["model"]] += 1
            except httpx.HTTPError:
                self.dropped += 1
            self._hurry.wait(PAUSE_SECONDS)
