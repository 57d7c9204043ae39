"""Kill the service under a load of feedback, start it again, and look for everything that it had acknowledged.

Promises: SIGKILL at a random moment while all clients give feedback; then every receipt is looked up over HTTP, every
row in the table, those of earlier rounds too; what went unanswered is given again under its Idempotency-Key and must be
there once. Leaves out power cuts: what a killed process has written stays in the system's memory, synced or not.
"""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.figures import Row
from bench.gifts import FEEDBACK, key_of
from bench.json_client import JsonClient, Unanswered
from bench.load import Body
from burnish_server import Deployment
from sqlalchemy import func
from sqlmodel import col, select

from feedback.models import Feedback
from feedback.states import Role

LEAST_BEFORE, MOST_BEFORE = 30, 150
"""Pieces of feedback that are acknowledged before a kill."""
LONGEST_AFTER_SECONDS = 0.05
"""More than a request takes, so that the kill hits any step of one."""


@dataclass
class Round:
    acknowledged: dict[str, tuple[Body, Body]] = field(default_factory=dict)
    """What was given and what was answered before the kill, by Idempotency-Key."""
    unanswered: dict[str, Body] = field(default_factory=dict)
    """On its way when the kill came: nobody can know whether it is stored."""


def kill_often(house: Deployment, gifts: Iterator[Body], *, kills: int, clients: int) -> list[Row]:
    """One row a kill; the service runs before and afterwards."""
    token, before = house.make_key(Role.CHAT), _count(house)
    told: dict[str, str] = {}
    rows = []
    for _ in range(kills):
        one = asyncio.run(_give_until_killed(house, token, gifts, clients))
        house.start()
        told |= {key: str(answer["id"]) for key, (_, answer) in one.acknowledged.items()}
        stored = _stored(house)
        row: Row = {
            "acknowledged": len(one.acknowledged),
            "present": sum(_is_told(house, *given) for given in one.acknowledged.values()),
            "lost": sum(stored.get(key) != public_id for key, public_id in told.items()),
            "unanswered": len(one.unanswered),
            "unanswered_but_stored": len(one.unanswered.keys() & stored.keys()),
        }
        again = asyncio.run(_give_again(house, token, one.unanswered))
        # the same row as before, if there was one
        told |= {key: stored.get(key, public_id) for key, public_id in again.items()}
        stored = _stored(house)
        row["there_once_after_repeat"] = sum(stored.get(key) == told[key] == again[key] for key in one.unanswered)
        row["rows_too_many"] = _count(house) - before - len(told)
        rows.append(row)
    return rows


def is_fine(row: Row) -> bool:
    """Whether nothing was lost and nothing is there twice."""
    whole = row["present"] == row["acknowledged"] and row["there_once_after_repeat"] == row["unanswered"]
    return whole and row["lost"] == row["rows_too_many"] == 0


async def _give_until_killed(house: Deployment, token: str, gifts: Iterator[Body], clients: int) -> Round:
    one, enough = Round(), random.randint(LEAST_BEFORE, MOST_BEFORE)
    reached = asyncio.Event()

    async def give_on() -> None:
        client = JsonClient(house.settings.url, token)
        for gift in gifts:
            key = key_of(gift)
            try:
                one.acknowledged[key] = (gift, await client.post(FEEDBACK, gift, key=key))
            except Unanswered:
                one.unanswered[key] = gift
                break
            if len(one.acknowledged) >= enough:
                reached.set()
        client.close()

    async def kill() -> None:
        await reached.wait()
        await asyncio.sleep(random.uniform(0, LONGEST_AFTER_SECONDS))
        house.kill()

    async with asyncio.TaskGroup() as group:  # a client that fails ends the others, and the kill that waits for them
        for deed in (kill(), *(give_on() for _ in range(clients))):
            group.create_task(deed)
    return one


async def _give_again(house: Deployment, token: str, gifts: dict[str, Body]) -> dict[str, str]:
    """The ids that the repeated ones were answered with, by Idempotency-Key; all are repeated at once."""

    async def give(key: str, gift: Body) -> str:
        client = JsonClient(house.settings.url, token)
        accepted = await client.post(FEEDBACK, gift, key=key)
        client.close()
        return str(accepted["id"])

    ids = await asyncio.gather(*(give(key, gift) for key, gift in gifts.items()))
    return dict(zip(gifts, ids, strict=True))


def _is_told(house: Deployment, gift: Body, accepted: Body) -> bool:
    """Whether the receipt still leads to what was given."""
    answer = house.anyone.get(f"{FEEDBACK}/{accepted['receipt']}")
    told = answer.json() if answer.status_code == 200 else {}
    return bool((told.get("id"), told.get("kind")) == (accepted["id"], gift["kind"]))


def _stored(house: Deployment) -> dict[str, str]:
    """The ids in the table, by Idempotency-Key."""
    with house.database.read() as session:
        keyed = select(Feedback.idempotency_key, Feedback.public_id).where(col(Feedback.idempotency_key).is_not(None))
        return {str(key): public_id for key, public_id in session.exec(keyed)}


def _count(house: Deployment) -> int:
    with house.database.read() as session:
        return session.exec(select(func.count()).select_from(Feedback)).one()
