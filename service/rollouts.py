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

SECONDS_BETWEEN_LOOKS = 2.0
ROLLOUT_PROBLEM = "the rollouts"
"""Among `problems` beside assistants' names, which have no spaces."""


async def tend(database: Database, routing: Routing, *, every_seconds: float = SECONDS_BETWEEN_LOOKS) -> None:
    while True:
        try:
            if await asyncio.to_thread(advance_all, database):
                await routing.refresh()
            routing.problems.pop(ROLLOUT_PROBLEM, None)
        except Exception as error:
            reason = error.message if isinstance(error, BurnishError) else f"Failed ({type(error).__name__})."
            if routing.problems.get(ROLLOUT_PROBLEM) != reason:
                _log.error("rollouts not looked after", reason=reason, **whereabouts(error))
            routing.problems[ROLLOUT_PROBLEM] = reason
        await asyncio.sleep(every_seconds)


def advance_all(database: Database) -> bool:
    """Take every step that is due; whether there was one. Who serves one version only costs a look at the releases."""
    with database.read() as session:
        beside = rollout.with_two_versions(session)
        due = [one for one in beside if (seen := rollout.look(session, one)) and seen.step.move != rollout.Move.STAY]
    moved = False
    for assistant in due:
        try:
            with database.write() as session:
                taken = rollout.advance(session, assistants.get_assistant(session, assistant.name))
        except Conflict:
            continue  # somebody else was quicker
        if taken is not None:
            moved = True
            _log.info(
                "release moved", assistant=assistant.name, version=taken.new.number, move=taken.step.move.value,
                percent=taken.step.percent, reason=taken.step.reason,
            )  # fmt: skip
    return moved
