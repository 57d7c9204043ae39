"""Feedback over HTTP: rows a second and how long each takes; and no kill -9 loses what was acknowledged.

Promises: `POST /v1/feedback` of the real service (its own process, SQLite, the echo engine) with ratings, corrections,
choices and comments in equal parts, each by a person of its own on a stored reply and with an `Idempotency-Key`. Then
the kills of bench/intake_kills.py under that load. Leaves out PostgreSQL.
"""

import argparse
import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from bench.client import Answer
from bench.deployment import Served, served
from bench.figures import Result, Row, numbers, tell
from bench.gifts import FEEDBACK, chat, gifts_on, key_of
from bench.intake_kills import is_fine, kill_often
from bench.json_client import JsonClient
from bench.load import Body, closed_loop

SYNCED_BYTES = 16_384
"""About what a row and its index entries add to SQLite's log."""


class Giver(JsonClient):
    """One of a closed loop's clients."""

    async def ask(self, body: Body) -> Answer:
        answer = Answer(perf_counter())
        await self.post(FEEDBACK, body, key=key_of(body))
        answer.ended = perf_counter()
        return answer


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--concurrency", type=numbers, default=[1, 8, 32], help="clients at once, such as 1,8,32")
    parser.add_argument("--seconds", type=float, default=8, help="least length of each measurement")
    parser.add_argument("--replies", type=int, default=400, help="stored completions that feedback is given on")
    parser.add_argument("--kills", type=int, default=5, help="rounds that end with a kill -9; 0: none")


def measure(options: argparse.Namespace, models: Path) -> Result:
    with served(models, engine="echo", log_level="warning") as service:
        tell(f"{options.replies} chats")
        gifts = gifts_on(asyncio.run(chat(service.url, service.token, options.replies)))
        rows = [_speed(service, gifts, clients, options.seconds) for clients in options.concurrency]
        tell(f"{options.kills} kills")
        kills = kill_often(service.house, gifts, kills=options.kills, clients=max(options.concurrency))
    sums = {name: sum(row[name] for row in kills) for name in ("acknowledged", "present", "lost")}
    fine = all(map(is_fine, kills))
    return {"rows": rows, "kills": kills, "all_kills": sums, "disk_syncs_per_second": _syncs(), "ok": fine}


def _speed(service: Served, gifts: Iterator[Body], clients: int, seconds: float) -> Row:
    tell(f"{clients} at once")
    window = asyncio.run(closed_loop(service.url, service.token, gifts, clients, seconds=seconds, connect=_connect))
    return {
        "concurrency": clients,
        "rows_per_second": window.requests_per_second(),
        **{f"latency_ms_p{percent}": window.latency_ms(percent) for percent in (50, 95, 99)},
    }


async def _connect(url: str, token: str) -> Giver:
    return Giver(url, token)


def _syncs() -> float:
    """How often a second the disk alone takes what a row writes."""
    with tempfile.NamedTemporaryFile(prefix="burnish-bench-") as file:
        began, count = perf_counter(), 0
        while perf_counter() - began < 1:
            os.write(file.fileno(), bytes(SYNCED_BYTES))
            os.fdatasync(file.fileno())
            count += 1
        return count / (perf_counter() - began)
