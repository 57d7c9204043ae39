"""Versions come and go under load: nothing fails, no reply mixes two, memory stays flat, and how long streams stall.

Promises: through the engine's seam, on the bundled model, with adapters of rank 16 on all linear modules of which each
writes a word of its own and nothing else, so that every token says which version wrote it. A swap loads the next one,
sends new requests to it, and unloads the one before. Stalls are the longest time between two tokens of a stream,
beside the same figure with no swaps. Leaves out releases and routing, which tests/e2e/test_swap.py has.
"""

import argparse
import asyncio
import itertools
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from adapters import make_one_word_adapter
from bench.engine import running
from bench.figures import Result, Row, percentile, tell
from bench.memory import descendants, rss_mib
from bench.prompts import ticket

from feedback.config import BUNDLED_MODEL
from feedback.errors import BurnishError
from service.engines.adapter_format import adapter_sha256
from service.engines.base import Engine, GenerationRequest, SamplingParams

WORDS = (" amber", " cobalt", " velvet", " falcon", " marble", " silver")
"""One token each; the adapter that writes one prefers it to all others by 18 nats and more."""

TOKENS = 8
QUIET_SECONDS = 8.0
SETTLED_AFTER = 2 * len(WORDS)
"""Swaps after which all versions have been loaded and memory should have found its size."""
MOST_GROWTH = 1.05


@dataclass(frozen=True)
class Version:
    sha256: str
    folder: Path
    word: str


@dataclass
class Seen:
    """What the clients saw in one part of the measurement."""

    replies: int = 0
    errors: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    gaps_ms: list[float] = field(default_factory=list)

    def row(self, what: str) -> Row:
        return {
            "what": what,
            "replies": self.replies,
            "errors": len(self.errors),
            "mixed_replies": len(self.mixed),
            "inter_token_ms_p50": percentile(self.gaps_ms, 50),
            "inter_token_ms_p99": percentile(self.gaps_ms, 99),
            "longest_stall_ms": max(self.gaps_ms, default=float("nan")),
        }


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--swaps", type=int, default=1000, help="how many")
    parser.add_argument("--concurrency", type=int, default=8, help="streams at once")


def measure(options: argparse.Namespace, models: Path) -> Result:
    with tempfile.TemporaryDirectory(prefix="burnish-bench-") as folder:
        versions = [_version(models, Path(folder), word) for word in WORDS]
        return asyncio.run(_swaps(models, versions, options.swaps, options.concurrency))


def _version(models: Path, folder: Path, word: str) -> Version:
    made = make_one_word_adapter(models / BUNDLED_MODEL, folder / word.strip(), word, like_trained=True)
    return Version(adapter_sha256(made), made, word)


async def _swaps(models: Path, versions: Sequence[Version], count: int, concurrency: int) -> Result:
    others = set(descendants(os.getpid()))
    async with running(models) as engine:
        child = [pid for pid in descendants(os.getpid()) if pid not in others]
        await engine.load(versions[0].sha256, versions[0].folder)
        clients = _Clients(engine, versions[0])
        tasks = [asyncio.create_task(clients.chat(number)) for number in range(concurrency)]
        await asyncio.sleep(QUIET_SECONDS)
        quiet, clients.seen = clients.seen, Seen()
        loads, unloads, held = [], [], []
        for number, version in enumerate(itertools.islice(itertools.cycle(versions), 1, count + 1), 1):
            began = perf_counter()
            await engine.load(version.sha256, version.folder)
            loads.append(1000 * (perf_counter() - began))
            before, clients.version = clients.version, version
            began = perf_counter()
            await engine.unload(before.sha256)
            unloads.append(1000 * (perf_counter() - began))
            held.append(rss_mib(child))
            if number % max(1, count // 10) == 0:
                tell(f"{number} swaps, {clients.seen.replies} replies, {held[-1] or 0:.0f} MiB")
        clients.stopping = True
        await asyncio.gather(*tasks)
    early = held[min(max(count // 10, SETTLED_AFTER), count) - 1]
    swapped = clients.seen
    growth = held[-1] / early if early and held[-1] else None
    return {
        "rows": [quiet.row("no swaps"), swapped.row(f"{count} swaps")],
        "ok": not (quiet.errors or quiet.mixed or swapped.errors or swapped.mixed or (growth or 1) > MOST_GROWTH),
        "load_ms_p50": percentile(loads, 50),
        "load_ms_max": max(loads),
        "unload_ms_p50": percentile(unloads, 50),
        "rss_mib_early": early,
        "rss_mib_end": held[-1],
        "complaints": [{"complaint": told} for told in [*swapped.errors, *swapped.mixed][:5]],
    }


class _Clients:
    """Streams without pause, each of the version that is the newest when it begins."""

    def __init__(self, engine: Engine, version: Version) -> None:
        self.version = version
        self.seen = Seen()
        self.stopping = False
        self._engine = engine
        self._prompts = map(ticket, itertools.count())

    async def chat(self, number: int) -> None:
        tokens = TOKENS + number % 4  # different lengths, so that the replies' ends never fall together
        while not self.stopping:
            version, text, last = self.version, "", 0.0
            request = GenerationRequest(next(self._prompts), SamplingParams(tokens, temperature=0), version.sha256)
            try:
                async for delta in self._engine.generate(request):
                    now = perf_counter()
                    if last:
                        self.seen.gaps_ms.append(1000 * (now - last))
                    text, last = text + delta.text, now
            except BurnishError as error:
                self.seen.errors.append(error.message)
                continue
            self.seen.replies += 1
            if text.strip() != (version.word * tokens).strip():
                self.seen.mixed.append(f"asked for{version.word}, got {text[:60]!r}")
