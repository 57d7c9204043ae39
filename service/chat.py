"""One turn: history → engine → saved message.

A turn's tokens are produced by a task of its own. The client's connection only reads from it: when the client goes
away, the task is cancelled, frees its slot in the engine and stores what was written so far.
"""

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import structlog

from feedback import contributors, conversations
from feedback.assistants import current_guidelines
from feedback.config import Settings
from feedback.database import Database
from feedback.errors import BurnishError, EngineUnavailable
from feedback.keys import Caller
from feedback.logs import whereabouts
from feedback.states import MessageStatus
from service.engines.base import (
    ChatMessage,
    Engine,
    FinishReason,
    GenerationRequest,
    SamplingParams,
    TokenLogprob,
)
from service.routing import Route, Routing

_log = structlog.get_logger()


@dataclass(frozen=True)
class ChatTurn:
    """A parsed chat request, free of the protocol's spelling."""

    model: str
    messages: list[ChatMessage]
    sampling: SamplingParams
    choices: int = 1
    user: str | None = None
    conversation_id: str | None = None
    store: bool | None = None


@dataclass
class Choice:
    """A reply as it grows."""

    index: int
    message_id: int
    text: str = ""
    finish_reason: FinishReason | None = None
    stored: bool = False
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    logprobs: list[TokenLogprob] = field(default_factory=list)


@dataclass(frozen=True)
class Piece:
    """A choice's next piece of text; the last one carries `finish_reason`."""

    index: int
    text: str
    finish_reason: FinishReason | None
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass
class Reply:
    """A turn under way. Iterate `pieces()`, then read `choices`; `abandon()` when nobody listens any more."""

    completion_id: str
    created: int
    model: str
    choices: list[Choice]
    with_logprobs: bool
    _pieces: asyncio.Queue[Piece | BaseException | None] = field(default_factory=asyncio.Queue)
    _producer: asyncio.Task[None] | None = None

    async def pieces(self) -> AsyncIterator[Piece]:
        while (piece := await self._pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece

    async def complete(self) -> "Reply":
        """Wait for all of it."""
        async for _ in self.pieces():
            pass
        return self

    def abandon(self) -> None:
        if self._producer is not None:
            self._producer.cancel()

    @property
    def prompt_tokens(self) -> int:
        return max(choice.prompt_tokens for choice in self.choices)

    @property
    def cached_tokens(self) -> int:
        """What no choice had to read: after the first one, the others find the prompt in the cache anyway."""
        return min(choice.cached_tokens for choice in self.choices)

    @property
    def completion_tokens(self) -> int:
        return sum(choice.completion_tokens for choice in self.choices)


class Chat:
    def __init__(self, database: Database, engine: Engine, routing: Routing, settings: Settings, secret: bytes) -> None:
        self._database = database
        self._engine = engine
        self._routing = routing
        self._settings = settings
        self._secret = secret
        self._producers: set[asyncio.Task[None]] = set()

    async def begin(self, caller: Caller, turn: ChatTurn) -> Reply:
        """Pin a version, commit the turn and start writing.

        Raises NotFound (model), InvalidInput (messages, a prompt over the context), QueueFull and EngineUnavailable
        before anything has been sent to the client.
        """
        async with AsyncExitStack() as opened:
            route = await opened.enter_async_context(self._routing.use(caller, turn.model))
            health = self._engine.health()
            if not health.ready:
                raise EngineUnavailable(f"The engine is not ready: {health.detail}. Try again in a moment.")
            completion_id = f"chatcmpl-{secrets.token_hex(12)}"
            messages, message_ids = await asyncio.to_thread(self._store_turn, caller, turn, route, completion_id)
            choices = [Choice(index, message_id) for index, message_id in enumerate(message_ids)]
            with_logprobs = turn.sampling.logprobs is not None
            reply = Reply(completion_id, int(time.time()), route.model, choices, with_logprobs)
            request = GenerationRequest(messages, turn.sampling, route.version.sha256, str(caller.api_key_id))
            started = asyncio.get_running_loop().create_future()
            held = opened.pop_all()
            reply._producer = asyncio.create_task(self._produce(reply, request, held, started))
        self._producers.add(reply._producer)
        reply._producer.add_done_callback(self._producers.discard)
        try:
            await asyncio.shield(started)
        except asyncio.CancelledError:
            reply.abandon()
            raise
        return reply

    async def drain(self) -> None:
        """Wait until every turn under way has stored its end."""
        await asyncio.gather(*self._producers, return_exceptions=True)

    async def _produce(
        self, reply: Reply, request: GenerationRequest, held: AsyncExitStack, started: asyncio.Future[None]
    ) -> None:
        """Write all choices side by side; store each before its last piece goes out."""
        async with held:
            writers = [asyncio.create_task(self._write(reply, choice, request, started)) for choice in reply.choices]
            try:
                await asyncio.gather(*writers)
                await self._put(reply, None)
            except asyncio.CancelledError:
                await self._stop(writers)
                await self._store_rest(reply, MessageStatus.STOPPED)
                raise
            except Exception as error:
                await self._stop(writers)
                if not isinstance(error, BurnishError):
                    _log.error("reply failed", completion_id=reply.completion_id, **whereabouts(error))
                await self._store_rest(reply, MessageStatus.FAILED)
                if started.done():
                    await self._put(reply, error)
                else:
                    started.set_exception(error)

    async def _write(
        self, reply: Reply, choice: Choice, request: GenerationRequest, started: asyncio.Future[None]
    ) -> None:
        if request.sampling.seed is not None:
            request = replace(request, sampling=replace(request.sampling, seed=request.sampling.seed + choice.index))
        deltas = self._engine.generate(request)
        try:
            async for delta in deltas:
                text = delta.text.replace("\0", "\ufffd")  # what a model may write, but no database can hold
                choice.text += text
                choice.prompt_tokens, choice.completion_tokens = delta.prompt_tokens, delta.completion_tokens
                choice.cached_tokens = delta.cached_tokens
                choice.logprobs += delta.logprobs
                choice.finish_reason = delta.finish_reason
                if delta.finish_reason is not None:
                    await asyncio.to_thread(self._store_choice, choice, MessageStatus.COMPLETE)
                    choice.stored = True
                if not started.done():
                    started.set_result(None)
                await self._put(reply, Piece(choice.index, text, delta.finish_reason, delta.logprobs))
        finally:
            await deltas.aclose()
        if choice.finish_reason is None:
            raise EngineUnavailable("The engine ended a reply without finishing it. Try again.")

    @staticmethod
    async def _put(reply: Reply, piece: Piece | BaseException | None) -> None:
        await reply._pieces.put(piece)

    @staticmethod
    async def _stop(writers: list[asyncio.Task[None]]) -> None:
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)

    def _store_turn(
        self, caller: Caller, turn: ChatTurn, route: Route, completion_id: str
    ) -> tuple[list[ChatMessage], list[int]]:
        person = None
        if turn.user is not None:
            person = contributors.contributor_id(self._secret, route.assistant.id, caller.api_key_id, turn.user)
        with self._database.write() as session:
            guidelines = current_guidelines(session, route.assistant)
            ids = conversations.begin_replies(
                session,
                route.assistant,
                guidelines,
                route.version,
                conversations.Turn(turn.messages, caller.api_key_id, person, turn.conversation_id, turn.store),
                completion_id=completion_id,
                choices=turn.choices,
                sampling=_stored(turn.sampling),
            )
            return conversations.with_guidelines(guidelines, turn.messages), ids

    def _store_choice(self, choice: Choice, status: MessageStatus) -> None:
        with self._database.write() as session:
            conversations.finish_reply(
                session,
                choice.message_id,
                choice.text,
                status,
                finish_reason=choice.finish_reason,
                prompt_tokens=choice.prompt_tokens,
                completion_tokens=choice.completion_tokens,
            )

    async def _store_rest(self, reply: Reply, status: MessageStatus) -> None:
        """Store what isn't complete. If the database is away the client must hear of its error all the same;
        housekeeping closes the reply later."""
        for choice in reply.choices:
            if choice.stored:
                continue
            try:
                await asyncio.to_thread(self._store_choice, choice, status)
            except Exception as error:
                _log.error("reply not stored", completion_id=reply.completion_id, **whereabouts(error))


def _stored(sampling: SamplingParams) -> dict[str, Any]:
    """The settings as small JSON: of what may be long, the hash."""
    values = asdict(sampling)
    for name in ("logit_bias", "json_schema"):
        if value := values.pop(name):
            values[f"{name}_sha256"] = hashlib.sha256(json.dumps(value).encode()).hexdigest()
    return values
