"""Seconds from a process's start to its first answer, and the memory that each loaded version takes.

Promises: the engine by itself, from `LocalEngine.start` to its end (its child loads torch and the model anew each
time); `python -m service` until `/health/ready` says yes, with one version live; the engine's resident memory after
each of several rank-16 adapters, whose slope is what one costs. Leaves out the first start of a machine, which reads
from the disk.
"""

import argparse
import asyncio
import os
import tempfile
from pathlib import Path
from time import perf_counter

from bench.deployment import random_adapter, served
from bench.engine import running
from bench.figures import Result, Row, percentile, slope, tell
from bench.memory import descendants, rss_mib

from service.engines.adapter_format import adapter_sha256


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=3, help="how often each start is measured")
    parser.add_argument("--versions", type=int, default=8, help="how many versions are loaded to see what one takes")


def measure(options: argparse.Namespace, models: Path) -> Result:
    engine, service = [], []
    for _ in range(options.runs):
        engine.append(asyncio.run(_engine_seconds(models)))
        with served(models, adapters=1) as running_service:
            service.append(running_service.start_seconds)
        tell(f"engine {engine[-1]:.1f} s, service {service[-1]:.1f} s")
    held = asyncio.run(_memory(models, options.versions))
    return {
        "rows": [_row("engine", engine), _row("service", service)],
        "engine_rss_mib": held[0],
        "rss_mib_per_version": slope(held[1:]),  # the first one also brings what loading takes
        "versions": options.versions,
    }


def _row(what: str, seconds: list[float]) -> Row:
    return {
        "what": what,
        "seconds_to_ready": percentile(seconds, 50),
        "lowest": min(seconds),
        "highest": max(seconds),
        "runs": len(seconds),
    }


async def _engine_seconds(models: Path) -> float:
    began = perf_counter()
    async with running(models):
        return perf_counter() - began


async def _memory(models: Path, versions: int) -> list[float]:
    """MiB that the engine's process holds with no version loaded, with one, and so on."""
    others = set(descendants(os.getpid()))
    with tempfile.TemporaryDirectory(prefix="burnish-bench-") as folder:
        made = [random_adapter(models, Path(folder) / str(seed), seed=seed, rank=16) for seed in range(versions)]
        async with running(models) as engine:
            child = [pid for pid in descendants(os.getpid()) if pid not in others]
            held = [rss_mib(child)]
            for adapter in made:
                await engine.load(adapter_sha256(adapter), adapter)
                held.append(rss_mib(child))
                tell(f"{len(held) - 1} versions: {held[-1]:.0f} MiB")
    return held
