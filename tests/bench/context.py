"""Tokens a second as conversations grow: the same replies behind prompts of 128 to 2,000 tokens.

Promises: HTTP, streams and an adapter as in `serve`; no two prompts begin alike, so that none is read from a cache;
writing apart from reading the prompt, by the time between tokens. Leaves out the ceiling.
"""

import argparse
import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path

from bench.deployment import served
from bench.figures import Result, Row, numbers, tell
from bench.load import closed_loop
from bench.prompts import user, words
from bench.serve import chats

from service.engines.base import ChatMessage

TEMPLATE_TOKENS = 32
"""About what the bundled model's chat template puts around a message."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prompt-tokens", type=numbers, default=[128, 512, 1024, 2000], help="such as 128,2000")
    parser.add_argument("--concurrency", type=numbers, default=[1, 4], help="clients at once, such as 1,4")
    parser.add_argument("--max-tokens", type=int, default=32, help="length of each reply")
    parser.add_argument("--seconds", type=float, default=8, help="least length of each measurement")


def measure(options: argparse.Namespace, models: Path) -> Result:
    rows: list[Row] = []
    with served(models, adapters=1) as service:
        numbered = itertools.count()
        for clients, length in itertools.product(options.concurrency, options.prompt_tokens):
            bodies = chats(_prompts(numbered, length), list(service.adapters), options.max_tokens)
            window = asyncio.run(closed_loop(service.url, service.token, bodies, clients, seconds=options.seconds))
            row: Row = {
                "concurrency": clients,
                "prompt_tokens": window.prompt_tokens(),
                "tokens_per_second": window.tokens_per_second(),
                "written_tokens_per_second": 1000 * clients / window.inter_token_ms(50),
                "ttft_ms_p50": window.ttft_ms(50),
                "inter_token_ms_p50": window.inter_token_ms(50),
                "inter_token_ms_p99": window.inter_token_ms(99),
            }
            rows.append(row)
            tell(f"{clients} at once, {length} tokens: {row['tokens_per_second']:.1f} tokens/s")
    return {"rows": rows, "max_tokens": options.max_tokens}


def _prompts(numbered: Iterator[int], length: int) -> Iterator[list[ChatMessage]]:
    for number in numbered:
        yield user(words(number, length - TEMPLATE_TOKENS))
