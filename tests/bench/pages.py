"""Pages of the console: how long each takes with a million pieces of feedback, and what it weighs.

Every page that links lead to is opened again and again, in turns, over HTTP as a browser without a script does, by one
person; the service runs in its own process on SQLite, with the echo engine. Rows are made in bulk, spread over two
weeks and many people. A page over the limit of --most-ms at the 95th percentile is wrong.
"""

import argparse
import hashlib
import random
import re
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from bench.figures import Result, tell
from burnish_server import Deployment, deployment
from populated import populate
from sqlalchemy import insert
from sqlmodel import select

from feedback import assistants, releases
from feedback.models import ApiKey, Contributor, Conversation, Feedback, Message
from feedback.states import FeedbackKind, FeedbackStatus, MessageStatus, Side
from feedback.web_sessions import sign_in

IDS = re.compile(r"(?:fb|case|run|rcpt|er|wh)-[\w-]+|@\d+|%40\d+|[0-9a-f]{16,}|\b\d+\b")
BATCH = 20_000
FORTNIGHT_SECONDS = 14 * 24 * 3600


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--feedback", type=int, default=1_000_000, help="pieces of feedback (default: %(default)s)")
    parser.add_argument("--looks", type=int, default=40, help="times that each page is opened (default: %(default)s)")
    parser.add_argument("--most-ms", type=float, default=200.0, help="the limit at p95 (default: %(default)s)")


def measure(options: argparse.Namespace, models: Path) -> Result:
    with tempfile.TemporaryDirectory(prefix="burnish-bench-") as folder, deployment(Path(folder)) as made:
        known = populate(made, lambda words: words)
        tell(f"{options.feedback} pieces of feedback are made")
        began = time.perf_counter()
        fill(made, options.feedback)
        tell(f"made in {time.perf_counter() - began:.0f} s")
        with made.database.write() as session:
            token = sign_in(session, made.admin).token
        made.start()
        client = httpx.Client(base_url=made.settings.url, cookies={"burnish_session": token}, timeout=120)
        with client:
            addresses = pages(client, ["/console", f"/console/a/{known.name}/feedback", "/"])
            rows = look(client, addresses, options.looks)
    worst = max(row["p95 ms"] for row in rows)
    return {
        "rows": rows,
        "feedback": options.feedback,
        "looks_each": options.looks,
        "worst_p95_ms": worst,
        "ok": worst <= options.most_ms,
    }


def look(client: httpx.Client, addresses: list[str], looks: int) -> list[dict[str, Any]]:
    milliseconds: dict[str, list[float]] = {address: [] for address in addresses}
    size: dict[str, int] = {}
    for _ in range(looks):
        for address in addresses:
            began = time.perf_counter()
            with client.stream("GET", address, headers={"accept-encoding": "gzip"}) as answer:
                size[address] = sum(len(part) for part in answer.iter_raw())
            milliseconds[address].append(1000 * (time.perf_counter() - began))
    return [
        {
            "page": IDS.sub("…", address),
            "median ms": statistics.median(taken),
            "p95 ms": statistics.quantiles(taken, n=20)[-1] if len(taken) > 1 else taken[0],
            "compressed KB": size[address] / 1024,
        }
        for address, taken in milliseconds.items()
    ]


def pages(client: httpx.Client, starts: list[str]) -> list[str]:
    """One of each kind that links lead to."""
    waiting, kinds = list(starts), dict[str, str]()
    while waiting:
        address = waiting.pop(0)
        query = ",".join(re.findall(r"(\w+)=", urlsplit(address).query))
        kind = f"{IDS.sub('*', urlsplit(address).path)}?{query}"
        if kind in kinds or (not address.startswith(("/console", "/changes", "/c/")) and address != "/"):
            continue
        answer = client.get(address)
        if answer.status_code != 200 or "text/html" not in answer.headers["content-type"]:
            continue
        kinds[kind] = address
        waiting += [link.replace("&amp;", "&") for link in re.findall(r'href="(/[^"#]*)', answer.text)]
    return list(kinds.values())


def fill(made: Deployment, count: int) -> None:
    """Conversations of one question each, and a piece of feedback on each reply."""
    dice, start = random.Random(7), datetime.now(UTC) - timedelta(seconds=FORTNIGHT_SECONDS)
    with made.database.read() as session:
        assistant = assistants.get_assistant(session, "support")
        version = releases.live(session, assistant).version
        key = session.exec(select(ApiKey.id)).first()
    people = [hashlib.sha256(f"person {number}".encode()).hexdigest()[:32] for number in range(max(50, count // 40))]
    with made.database.write() as session:
        rows = [{"id": one, "assistant_id": assistant.id, "side": Side.TRAIN, "created_at": start} for one in people]
        session.connection().execute(insert(Contributor), rows)
    for first in range(0, count, BATCH):
        numbers = range(first, min(first + BATCH, count))
        at = [start + timedelta(seconds=FORTNIGHT_SECONDS * number / count) for number in numbers]
        who = [dice.choice(people) for _ in numbers]
        base = 10_000_000
        conversations = [
            {"id": base + n, "assistant_id": assistant.id, "api_key_id": key, "contributor_id": one, "created_at": when}
            for n, one, when in zip(numbers, who, at, strict=True)
        ]
        messages, said = [], []
        for n, one, when in zip(numbers, who, at, strict=True):
            messages += _exchange(n, base, version.id, when)
            said.append(_feedback(n, base, assistant.id, key, one, when, dice))
        with made.database.write() as session:
            connection = session.connection()
            connection.execute(insert(Conversation), conversations)
            connection.execute(insert(Message), messages)
            connection.execute(insert(Feedback), said)


def _exchange(number: int, base: int, version_id: int, when: datetime) -> list[dict[str, Any]]:
    question = {
        "id": base + 2 * number, "conversation_id": base + number, "parent_id": None, "role": "user",
        "content": f"How tall is lighthouse {number}?", "history_sha256": f"{number:064x}",
        "status": MessageStatus.COMPLETE, "created_at": when, "completion_id": None, "choice_index": 0,
        "adapter_version_id": None, "prompt_tokens": 0, "completion_tokens": 0, "sampling": {}, "completed_at": None,
    }  # fmt: skip
    reply = {
        "id": base + 2 * number + 1, "parent_id": base + 2 * number, "role": "assistant",
        "content": f"Lighthouse {number} is tall.", "history_sha256": f"{number + 10**12:064x}",
        "completion_id": f"chatcmpl-bench-{number}", "adapter_version_id": version_id, "completed_at": when,
    }  # fmt: skip
    return [question, question | reply]


def _feedback(
    number: int, base: int, assistant_id: int, key: int | None, who: str, when: datetime, dice: random.Random
) -> dict[str, Any]:
    kind = dice.choices(
        (FeedbackKind.RATING, FeedbackKind.CORRECTION, FeedbackKind.COMMENT, FeedbackKind.REPORT), (80, 12, 7, 1)
    )[0]
    value: dict[str, Any] = {
        FeedbackKind.RATING: {"thumb": dice.choice((1, 1, -1))},
        FeedbackKind.CORRECTION: {"content": f"Lighthouse {number} is {number % 80} m tall."},
        FeedbackKind.COMMENT: {"text": "I looked it up."},
        FeedbackKind.REPORT: {"category": "wrong"},
    }[kind]
    waits = kind == FeedbackKind.REPORT or (kind == FeedbackKind.CORRECTION and number % 9 == 0)
    return {
        "public_id": f"fb-bench-{number}", "assistant_id": assistant_id, "message_id": base + 2 * number + 1,
        "api_key_id": key, "contributor_id": who, "kind": kind, "score": float(value.get("thumb", 0)) or None,
        "value": value, "comment": None, "tags": ["too long"] if number % 5 == 0 else [], "training": None,
        "status": FeedbackStatus.IN_REVIEW if waits else FeedbackStatus.RECEIVED,
        "receipt_sha256": hashlib.sha256(str(number).encode()).hexdigest(), "request_sha256": "",
        "salt": f"{number:032x}", "created_at": when,
    }  # fmt: skip
