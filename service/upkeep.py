"""Housekeeping on the database, done by the service alone: SQLite's log is folded back, abandoned replies are closed,
what was erased leaves no traces in the file.

What fails is logged, told in readiness and tried again.
"""

import asyncio

import structlog

from feedback.conversations import fail_abandoned
from feedback.database import Database
from feedback.erasure import finish as finish_erasures
from feedback.errors import BurnishError
from feedback.logs import whereabouts

_log = structlog.get_logger()

UPKEEP_SECONDS = 30.0
ABANDONED_SECONDS = 300.0
"""A reply still being written so long after a request may take was left behind by a service that died."""
UPKEEP_PROBLEM = "the database's upkeep"
"""Among the problems beside assistants' names, which have no spaces."""


async def tend(
    database: Database, problems: dict[str, str], *, request_seconds: float, every_seconds: float = UPKEEP_SECONDS
) -> None:
    """Keep house for as long as the service runs."""
    while True:
        try:
            await asyncio.to_thread(database.checkpoint)
            await asyncio.to_thread(_fail_abandoned, database, request_seconds + ABANDONED_SECONDS)
            await asyncio.to_thread(finish_erasures.scrub, database)
            problems.pop(UPKEEP_PROBLEM, None)
        except Exception as error:
            _log.error("upkeep failed", **whereabouts(error))
            reason = error.message if isinstance(error, BurnishError) else f"Failed ({type(error).__name__})."
            problems[UPKEEP_PROBLEM] = f"{reason} Tried again every {every_seconds:g} s."
        await asyncio.sleep(every_seconds)


async def finish(database: Database) -> None:
    """At shutdown: leave an empty log behind, if nobody is reading."""
    try:
        await asyncio.to_thread(database.checkpoint, last=True)
    except Exception as error:
        _log.error("last checkpoint failed", **whereabouts(error))


def _fail_abandoned(database: Database, older_than_seconds: float) -> None:
    with database.write() as session:
        fail_abandoned(session, older_than_seconds)
