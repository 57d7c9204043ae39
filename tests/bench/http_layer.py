"""What the service itself costs: requests a second and added latency, with the echo engine in the model's place.

Promises: `python -m service` with all it does for a chat (key, routing, two transactions, streaming) but a model; the
echo engine waits 10 ms a word, and what it takes by itself, measured without HTTP, is subtracted from the latency.
Leaves out models: `serve` has them.
"""

import argparse
import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from bench.deployment import BARE, served
from bench.figures import Result, Row, numbers, percentile, tell
from bench.load import Body, closed_loop
from bench.prompts import user, words

from service.engines import open_engine
from service.engines.base import GenerationRequest, SamplingParams

REPLY_WORDS = (2, 64)
ALONE_RUNS = 20


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--concurrency", type=numbers, default=[1, 32], help="clients at once, such as 1,32")
    parser.add_argument("--seconds", type=float, default=5, help="least length of each measurement")


def measure(options: argparse.Namespace, models: Path) -> Result:
    rows = []
    alone = {count: asyncio.run(_alone_ms(models, count)) for count in REPLY_WORDS}
    with served(models, engine="echo", log_level="warning") as service:
        for stream, count, clients in itertools.product((False, True), REPLY_WORDS, options.concurrency):
            tell(f"{'streamed' if stream else 'whole'} replies of {count} words, {clients} at once")
            bodies = _chats(stream, count)
            window = asyncio.run(closed_loop(service.url, service.token, bodies, clients, seconds=options.seconds))
            row: Row = {
                "reply": "streamed" if stream else "whole",
                "reply_tokens": count,
                "concurrency": clients,
                "requests_per_second": window.requests_per_second(),
                "latency_ms_p50": window.latency_ms(50),
                "latency_ms_p95": window.latency_ms(95),
                "added_ms_p50": window.latency_ms(50) - alone[count],
            }
            rows.append(row)
    return {"rows": rows}


def _chats(stream: bool, count: int) -> Iterator[Body]:
    """Requests whose replies have so many words: the version's name and the question's."""
    for number in itertools.count():
        yield {
            "model": BARE,
            "messages": user(words(number, count - 1)),
            "stream": stream,
            "stream_options": {"include_usage": True},
        }


async def _alone_ms(models: Path, count: int) -> float:
    """The median milliseconds that the echo engine takes for a reply of so many words."""
    engine = open_engine("echo", "", models)
    await engine.start()
    took = []
    for number in range(ALONE_RUNS):
        request = GenerationRequest(user(words(number, count - 1)), SamplingParams(max_tokens=512))
        began = perf_counter()
        async for _ in engine.generate(request):
            pass
        took.append(1000 * (perf_counter() - began))
    await engine.close()
    return percentile(took, 50)
