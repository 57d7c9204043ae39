"""Tokens a second and delays of `python -m service`: HTTP, streams, an adapter on every request.

Promises: prompts of about 40 tokens that all differ, temperature 0.7, replies of exactly --max-tokens tokens; a
closed loop (`load`) at each concurrency; the machine's ceiling (`ceiling`) at that batch, the better one of right
before and right after it; and how far the served dtype agrees with float32 (`agreement`). With --versions N the same
once more, the requests spread evenly over the bare base and N - 1 adapters.
"""

import argparse
import asyncio
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import agreement
from bench.ceiling import Ceiling
from bench.deployment import BARE, Served, served
from bench.figures import Result, Row, numbers, tell
from bench.load import Body, Window, closed_loop
from bench.memory import peak_rss_mib
from bench.prompts import questions

from feedback.config import BUNDLED_MODEL


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--concurrency", type=numbers, default=[1, 4, 16, 32], help="clients at once, such as 1,4")
    parser.add_argument("--max-tokens", type=int, default=64, help="length of each reply")
    parser.add_argument("--adapter-rank", type=int, default=16, help="rank of the adapters, on all linear modules")
    parser.add_argument("--versions", type=int, default=1, help="measure also with so many versions mixed evenly")
    parser.add_argument("--seconds", type=float, default=12, help="least length of each measurement")


def measure(options: argparse.Namespace, models: Path) -> Result:
    with served(models, adapters=max(1, options.versions - 1), rank=options.adapter_rank) as service:
        settings, tuned = service.settings, list(service.adapters)
        ceiling = Ceiling(models / BUNDLED_MODEL, settings.device, settings.dtype)
        prompts = questions()

        def rows(assistants: Sequence[str]) -> list[Row]:
            bodies = chats(prompts, assistants, options.max_tokens)
            return [_row(service, ceiling, bodies, clients, options.seconds) for clients in options.concurrency]

        result: Result = {"rows": rows(tuned[:1]), "versions_mixed": options.versions}
        if options.versions > 1:
            result["rows_mixed"] = rows([BARE, *tuned])
        result["peak_rss_mib"] = peak_rss_mib(service.processes())
        tell("agreement with float32")
        adapter = service.adapters[tuned[0]]
        result["agreement"] = agreement.measure(models, adapter, device=settings.device, dtype=settings.dtype)
    return {**result, "dtype": ceiling.dtype, "max_tokens": options.max_tokens, "adapter_rank": options.adapter_rank}


def chats(prompts: Iterator[list[dict[str, str]]], assistants: Sequence[str], max_tokens: int) -> Iterator[Body]:
    """Requests without end, each to the next one of the assistants."""
    for assistant in itertools.cycle(assistants):
        yield {
            "model": assistant,
            "messages": next(prompts),
            "max_tokens": max_tokens,
            "ignore_eos": True,
            "temperature": 0.7,
            "stream": True,
            "stream_options": {"include_usage": True},
        }


def _row(service: Served, ceiling: Ceiling, bodies: Iterator[Body], concurrency: int, seconds: float) -> Row:
    before = ceiling.tokens_per_second(concurrency)
    window = asyncio.run(closed_loop(service.url, service.token, bodies, concurrency, seconds=seconds))
    allowed = max(before, ceiling.tokens_per_second(concurrency))
    row = {"concurrency": concurrency, **_figures(window, allowed)}
    tell(f"{concurrency} at once: {row['tokens_per_second']:.1f} tokens/s, {row['of_ceiling']:.2f} of the ceiling")
    return row


def _figures(window: Window, ceiling: float) -> Row:
    written = window.tokens_per_second()
    return {
        "tokens_per_second": written,
        "ceiling_tokens_per_second": ceiling,
        "ttft_ms_p50": window.ttft_ms(50),
        "ttft_ms_p95": window.ttft_ms(95),
        "inter_token_ms_p50": window.inter_token_ms(50),
        "inter_token_ms_p99": window.inter_token_ms(99),
        "of_ceiling": written / ceiling,
        "prompt_tokens": window.prompt_tokens(),
        "requests": len(window.answers),
        "seconds": window.seconds,
    }
