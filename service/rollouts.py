"""Looks after what is on trial, for as long as the service runs: grows it, finishes it, takes it back.

Several services may do so at once: each step is a compare-and-set, and who is too late looks again. Leaves out what is
decided, and on which evidence (feedback.rollout).
"""

import asyncio

import structlog

from feedback import assistants, rollout
from feedback.database import Database
from feedback.errors import BurnishError, Conflict
from feedback.logs import whereabouts
from service.routing import Routing

_log = structlog.get_logger()

SECONDS_BETWEEN_LOOKS = 5.0
ROLLOUT_PROBLEM = "the rollout"
"""Among `problems`: of an assistant's, after its name; else everybody's."""


async def tend(database: Database, routing: Routing, *, every_seconds: float = SECONDS_BETWEEN_LOOKS) -> None:
    while True:
        try:
            moved, problems = await asyncio.to_thread(advance_all, database)
            if moved:
                await routing.refresh()
        except Exception as error:
            problems = {ROLLOUT_PROBLEM: f"They couldn't be looked after ({type(error).__name__})."}
            if ROLLOUT_PROBLEM not in routing.problems:
                _log.error("rollouts not looked after", **whereabouts(error))
        for name in [name for name in routing.problems if name.endswith(ROLLOUT_PROBLEM) and name not in problems]:
            del routing.problems[name]
        routing.problems |= problems
        await asyncio.sleep(every_seconds)


def advance_all(database: Database) -> tuple[bool, dict[str, str]]:
    """Take every step that is due; whether there was one, and what hindered an assistant's: none hinders another's."""
    with database.read() as session:
        beside = [one.name for one in rollout.with_two_versions(session)]
    moved, problems = False, {}
    for name in beside:
        try:
            moved = _advance(database, name) or moved
        except Conflict:
            continue  # somebody else was quicker
        except BurnishError as error:
            problems[f"{name}: {ROLLOUT_PROBLEM}"] = error.message
    return moved, problems


def _advance(database: Database, name: str) -> bool:
    """Looked at outside a write, which others would wait for."""
    with database.read() as session:
        seen = rollout.look(session, assistants.get_assistant(session, name))
    if seen is None or seen.step.move == rollout.Move.STAY:
        return False
    with database.write() as session:
        rollout.take(session, assistants.get_assistant(session, name), seen)
    _log.info(
        "release moved", assistant=name, version=seen.new.number, move=seen.step.move.value,
        percent=seen.step.percent, reason=seen.step.reason,
    )  # fmt: skip
    return True
