"""Who writes a blind comparison's two replies, in an order that tells nothing.

While a version is on trial, or the one before keeps a share, one is by each: such choices decide what becomes of it.
Else by the assistant's policy both come from the version that serves, or one from the version that it replaced; an
operator may name two. Leaves out how they are written (chat.py) and what is made of a choice
(feedback.collect.comparisons).
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import structlog
from sqlmodel import col, select

from feedback import assistants
from feedback.database import Database
from feedback.errors import AdapterRefused, EngineUnavailable
from feedback.keys import Caller
from feedback.models import AdapterVersion, Assistant, Release
from service.routing import Route, Routing

_log = structlog.get_logger()


@dataclass(frozen=True)
class Comparison:
    versions: tuple[int, int] | None = None
    """Numbers of the assistant's versions; None: as its policy says."""


@asynccontextmanager
async def candidates(
    routing: Routing, database: Database, caller: Caller, serving: Route, wanted: Comparison
) -> AsyncIterator[list[Route]]:
    """Two routes, pinned and shuffled.

    Raises NotFound and AdapterRefused for a version that an operator named. Without one that was replaced, or where
    it can't be loaded any more, the version that serves writes both.
    """
    name = serving.assistant.name
    async with AsyncExitStack() as pinned:
        if wanted.versions is not None:
            routes = [await pinned.enter_async_context(routing.use(caller, f"{name}@{n}")) for n in wanted.versions]
        else:
            routes = [serving, serving]
            other = routing.serves_beside(serving)
            number = other.version.number if other else await asyncio.to_thread(_previous, database, serving)
            try:
                if number is not None:
                    routes[1] = await pinned.enter_async_context(routing.use(caller, f"{name}@{number}"))
                    if other is not None:
                        routes[1] = replace(routes[1], release_id=other.release_id)
            except (AdapterRefused, EngineUnavailable) as error:  # the latter: it is for another base model
                _log.warning("the version before can't be compared with", model=serving.model, reason=error.message)
        yield routes[:: secrets.choice((1, -1))]


def _previous(database: Database, serving: Route) -> int | None:
    """The number of the version that the serving one replaced, where the policy asks for it; not of a tainted one."""
    with database.read() as session:
        assistant = session.get_one(Assistant, serving.assistant.id)
        release = session.get(Release, serving.release_id) if serving.release_id is not None else None
        if assistants.policies(assistant).collect.comparison == "same" or release is None:
            return None
        return session.exec(
            select(AdapterVersion.number)
            .join(Release, col(Release.adapter_version_id) == col(AdapterVersion.id))
            .where(Release.id == release.replaces_id, col(AdapterVersion.tainted_at).is_(None))
        ).first()
