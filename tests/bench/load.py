"""A closed loop of clients, and what it saw in a window of time.

Promises: every client has had one answer before the window begins; then all ask at once, so that the window holds a
burst; from there on each asks again as soon as it is answered, until the window has ended. Leaves out what is asked.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

from bench.client import Answer, connect
from bench.figures import percentile

Body = dict[str, Any]
"""A request's JSON."""


class Asker(Protocol):
    """A client: it asks one thing at a time."""

    async def ask(self, body: Body) -> Answer: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Window:
    """What came between two moments, of answers some of which went on after it."""

    began: float
    ended: float
    answers: list[Answer]

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    def holds(self, moment: float) -> bool:
        return self.began <= moment <= self.ended

    def tokens(self) -> float:
        """Tokens that arrived in the window. A piece may hold several: an answer's are spread over its pieces."""
        return sum(
            answer.completion_tokens * sum(map(self.holds, answer.arrivals)) / len(answer.arrivals)
            for answer in self.answers
            if answer.arrivals
        )

    def tokens_per_second(self) -> float:
        return self.tokens() / self.seconds

    def requests_per_second(self) -> float:
        return sum(self.holds(answer.ended) for answer in self.answers) / self.seconds

    def prompt_tokens(self) -> float:
        """Of a prompt on average, the chat template's own included."""
        return sum(answer.prompt_tokens for answer in self.answers) / len(self.answers)

    def latency_ms(self, percent: float) -> float:
        return percentile([1000 * (answer.ended - answer.asked) for answer in self._asked()], percent)

    def ttft_ms(self, percent: float) -> float:
        """Time to first token."""
        waits = [1000 * (answer.arrivals[0] - answer.asked) for answer in self._asked() if answer.arrivals]
        return percentile(waits, percent)

    def inter_token_ms(self, percent: float) -> float:
        gaps = [
            1000 * (after - before)
            for answer in self.answers
            for before, after in zip(answer.arrivals, answer.arrivals[1:], strict=False)
            if self.holds(after)
        ]
        return percentile(gaps, percent)

    def _asked(self) -> list[Answer]:
        return [answer for answer in self.answers if self.holds(answer.asked)]


async def closed_loop(
    url: str,
    token: str,
    bodies: Iterator[Body],
    concurrency: int,
    *,
    seconds: float,
    requests_each: int = 2,
    connect: Callable[[str, str], Awaitable[Asker]] = connect,
) -> Window:
    """Measure for at least `seconds`, and until every client has had `requests_each` answers. The clients chat, unless
    `connect` makes others."""
    clients = [await connect(url, token) for _ in range(concurrency)]
    answers: list[Answer] = []
    had = [0] * concurrency
    ended = 0.0

    async def ask_on(number: int) -> None:
        nonlocal ended
        while not ended:
            answer = await clients[number].ask(next(bodies))
            answers.append(answer)
            had[number] += 1
            if not ended and answer.ended - began >= seconds and min(had) >= requests_each:
                ended = answer.ended

    try:
        await asyncio.gather(*(client.ask(next(bodies)) for client in clients))
        began = perf_counter()
        await asyncio.gather(*(ask_on(number) for number in range(concurrency)))
    finally:
        for client in clients:
            client.close()
    return Window(began, ended, answers)
