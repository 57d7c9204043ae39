"""What a version on trial would have said: written after the reply that was shown, and shown to nobody.

Promises that nobody waits for it: it begins when the reply has been stored, and only where the engine writes nothing
else; and that its words are kept nowhere, only whether there were any and how long they took. Leaves out when a version
is in shadow, and what becomes of it (feedback.rollout).
"""

import asyncio
import time
from dataclasses import replace

import structlog

from feedback.database import Database
from feedback.errors import BurnishError
from feedback.logs import whereabouts
from feedback.models import Message
from feedback.trials import ShadowReply
from service.engines.base import Engine, GenerationRequest
from service.routing import Route

_log = structlog.get_logger()

SHADOW_KEY = "shadow"
"""Whose share of the engine it takes."""


class Shadow:
    def __init__(self, database: Database, engine: Engine) -> None:
        self._database = database
        self._engine = engine
        self._writing: set[asyncio.Task[None]] = set()

    def follow(self, request: GenerationRequest, route: Route, message_id: int) -> None:
        """Have `route`'s version answer what `message_id` was the answer to, if the engine is idle."""
        health = self._engine.health()
        if self._writing or health.waiting or health.running:
            return
        asked = replace(request, version=route.version.sha256, key=SHADOW_KEY)
        task = asyncio.create_task(self._write(asked, route, message_id))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def close(self) -> None:
        """Break off what is being written."""
        for task in self._writing:
            task.cancel()
        await asyncio.gather(*self._writing, return_exceptions=True)

    async def _write(self, request: GenerationRequest, route: Route, message_id: int) -> None:
        began, empty, tokens = time.monotonic(), True, 0
        try:
            async for delta in self._engine.generate(request):
                empty = empty and not delta.text.strip()
                tokens = delta.completion_tokens
        except BurnishError:
            return  # the engine's trouble, or the request's: it tells nothing of the version
        assert route.release_id is not None
        said = ShadowReply(
            release_id=route.release_id,
            message_id=message_id,
            failed=empty,
            completion_tokens=tokens,
            seconds=time.monotonic() - began,
        )
        try:
            await asyncio.to_thread(self._store, said)
        except Exception as error:
            _log.error("shadow reply not stored", **whereabouts(error))

    def _store(self, said: ShadowReply) -> None:
        with self._database.write() as session:
            if session.get(Message, said.message_id, with_for_update={"read": True, "key_share": True}) is not None:
                session.add(said)  # else its conversation was erased meanwhile
