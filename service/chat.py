"""One turn: history → engine → saved message.

A turn's tokens are produced by a task of its own. The client's connection only reads from it: when the client goes
away, the task is cancelled, frees its slot in the engine and stores what was written so far. The same happens to a
turn that takes too long or that a shutdown can't wait for; its client is told why.
"""

import asyncio
import contextlib
import hashlib
import json
import secrets
import time
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

import structlog

from feedback import contributors, conversations
from feedback.assistants import current_guidelines
from feedback.collect.comparisons import make_id
from feedback.config import Settings
from feedback.database import Database
from feedback.errors import BurnishError, EngineUnavailable, InvalidInput, QueueFull, TimedOut
from feedback.keys import Caller
from feedback.logs import whereabouts
from feedback.states import MessageStatus, ReleaseState
from service.admission import Admission
from service.comparisons import Comparison, candidates
from service.engines.base import (
    ChatMessage,
    Engine,
    GenerationRequest,
    SamplingParams,
)
from service.reply import Choice, Piece, Reply
from service.routing import Route, Routing
from service.shadow import Shadow

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
    ui_task: bool = False
    """Asked by a chat client for itself: see feedback.conversations.Turn."""
    comparison: Comparison | None = None
    """The choices are two, to choose one of."""

    @property
    def conversation(self) -> str:
        """What tells it from others, and stays the same while it grows: its id, else who began it with which words."""
        if self.conversation_id is not None:
            return f"id {self.conversation_id} {self.user or ''}"
        first = next((message["content"] for message in self.messages if message["role"] == "user"), "")
        return f"begun {self.user or ''} {first}"


class Chat:
    def __init__(self, database: Database, engine: Engine, routing: Routing, settings: Settings, secret: bytes) -> None:
        self._database = database
        self._engine = engine
        self._routing = routing
        self._settings = settings
        self._secret = secret
        self._shadow = Shadow(database, engine)
        self._admission = Admission(settings.max_batch + settings.max_queue)
        self._replies: set[Reply] = set()
        self.draining = False
        """The service is stopping: replies under way may finish, new ones are refused."""

    async def begin(self, caller: Caller, turn: ChatTurn) -> Reply:
        """Pin a version, commit the turn and start writing.

        Raises NotFound (model), InvalidInput (messages, a prompt over the context), QueueFull, EngineUnavailable and
        TimedOut before anything has been sent to the client.
        """
        if self.draining:
            raise EngineUnavailable("The service is stopping and takes no new requests. Try again in a moment.")
        seconds = self._settings.request_seconds
        late = asyncio.timeout(seconds)
        try:
            async with late:
                reply = await self._open(caller, turn, asyncio.get_running_loop().time() + seconds)
        except TimeoutError as error:
            if late.expired():
                raise _took_too_long(seconds) from error
            raise
        try:
            await reply.begun()
        except asyncio.CancelledError:
            reply.abandon()
            raise
        return reply

    async def _open(self, caller: Caller, turn: ChatTurn, deadline: float) -> Reply:
        """`deadline` is the event loop's time at which the reply is cut."""
        key = str(caller.api_key_id)
        async with AsyncExitStack() as opened:
            opened.enter_context(self._admission.places(key, turn.choices))
            routes = await self._pin(opened, caller, turn)
            health = self._engine.health()
            if not health.ready:
                raise EngineUnavailable(f"The engine is not ready: {health.detail}. Try again in a moment.")
            completion_id = f"chatcmpl-{secrets.token_hex(12)}" if turn.comparison is None else make_id()
            messages, message_ids = await asyncio.to_thread(self._store_turn, caller, turn, routes, completion_id)
            choices = [
                Choice(index, message_id, one.version.sha256)
                for index, (message_id, one) in enumerate(zip(message_ids, routes, strict=True))
            ]
            model = routes[0].model if turn.comparison is None else routes[0].assistant.name
            with_logprobs = turn.sampling.logprobs is not None
            reply = Reply(completion_id, int(time.time()), model, choices, with_logprobs)
            request = GenerationRequest(messages, turn.sampling, key=key)
            reply.producer = asyncio.create_task(
                self._produce(reply, request, opened.pop_all(), deadline, tell_apart=turn.comparison is not None)
            )
        reply.producer.add_done_callback(lambda _: self._replies.discard(reply))
        if turn.comparison is None and not turn.ui_task:
            self._shadow_afterwards(reply, request, routes[0])
        return reply

    def _shadow_afterwards(self, reply: Reply, request: GenerationRequest, route: Route) -> None:
        beside = self._routing.beside(route.assistant)
        if beside is None or beside.state != ReleaseState.SHADOW or route.release_id is None:
            return
        assert reply.producer is not None
        first = reply.choices[0]
        reply.producer.add_done_callback(
            lambda _: self._shadow.follow(request, beside.route, first.message_id) if first.stored else None
        )

    async def _pin(self, opened: AsyncExitStack, caller: Caller, turn: ChatTurn) -> list[Route]:
        """A route for each reply to write, for as long as `opened` is open."""
        route = await opened.enter_async_context(self._routing.use(caller, turn.model, turn.conversation))
        if turn.comparison is None:
            return [route] * turn.choices
        pinning = candidates(self._routing, self._database, caller, route, turn.comparison)
        return await opened.enter_async_context(pinning)

    async def drain(self, seconds: float) -> None:
        """Begin no more replies, give those under way `seconds` to finish, end the rest with an error.

        Returns when every reply has been stored.
        """
        self.draining = True
        deadline = time.monotonic() + seconds
        while self._replies and (left := deadline - time.monotonic()) > 0:
            await asyncio.wait(self._producers(), timeout=left)
        self.cut_short()
        await asyncio.gather(*self._producers(), return_exceptions=True)
        await self._shadow.close()

    def cut_short(self) -> None:
        """End the replies under way with an error, for a shutdown that can't wait."""
        for reply in self._replies:
            reply.cut(EngineUnavailable("The service is stopping and could not wait for this reply. Send it again."))

    def _producers(self) -> list[asyncio.Task[None]]:
        return [reply.producer for reply in self._replies if reply.producer is not None]

    async def _produce(
        self, reply: Reply, request: GenerationRequest, held: AsyncExitStack, deadline: float, *, tell_apart: bool
    ) -> None:
        """Write all choices side by side; store each before its last piece goes out. Its reader hears of every end."""
        self._replies.add(reply)  # not before: a task that is cancelled before its first step gives nothing back
        cut = _took_too_long(self._settings.request_seconds)
        late = asyncio.get_running_loop().call_at(deadline, reply.cut, cut)
        async with held:
            writers = [asyncio.create_task(self._write(reply, choice, request)) for choice in reply.choices]
            ended: Exception | None = None
            status = MessageStatus.FAILED
            cause: str | None = "error"
            try:
                await asyncio.gather(*writers)
                if tell_apart:
                    await self._tell_apart(reply, request)
            except asyncio.CancelledError:
                status = MessageStatus.STOPPED
                cause = "timeout" if isinstance(reply.cut_short, TimedOut) else None
                ended = reply.cut_short or EngineUnavailable("Nobody waited for this reply. Send it again.")
            except Exception as error:
                ended = error
                cause = "refused" if isinstance(error, InvalidInput | QueueFull) else "error"
                if not isinstance(error, BurnishError):
                    _log.error("reply failed", completion_id=reply.completion_id, **whereabouts(error))
            late.cancel()
            try:
                if ended is not None:
                    await _to_its_end(self._close(reply, writers, status, cause))
            finally:
                reply.end(None if all(choice.stored for choice in reply.choices) else ended)

    async def _tell_apart(self, reply: Reply, request: GenerationRequest) -> None:
        """Candidates that say the same leave nothing to choose: write the second once more, with another seed."""
        first, second = reply.choices
        if first.text != second.text or request.sampling.temperature == 0:
            return
        if request.sampling.seed is not None:
            request = replace(request, sampling=replace(request.sampling, seed=request.sampling.seed + 2))
        again = Choice(second.index, second.message_id, second.version)
        try:
            await self._write(reply, again, request)
        finally:
            if again.stored:
                reply.choices[1] = again

    async def _write(self, reply: Reply, choice: Choice, request: GenerationRequest) -> None:
        request = replace(request, version=choice.version)
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
                    await _to_its_end(asyncio.to_thread(self._store_choice, choice, MessageStatus.COMPLETE))
                    choice.stored = True
                reply.add(Piece(choice.index, text, delta.finish_reason, delta.logprobs))
        finally:
            await deltas.aclose()
        if choice.finish_reason is None:
            raise EngineUnavailable("The engine ended a reply without finishing it. Try again.")

    def _store_turn(
        self, caller: Caller, turn: ChatTurn, routes: Sequence[Route], completion_id: str
    ) -> tuple[list[ChatMessage], list[int]]:
        assistant, person = routes[0].assistant, None
        if turn.user:
            person = contributors.contributor_id(self._secret, assistant.id, caller.api_key_id, turn.user)
        key = caller.api_key_id
        asked = conversations.Turn(turn.messages, key, person, turn.conversation_id, turn.store, turn.ui_task)
        with self._database.write() as session:
            guidelines = current_guidelines(session, assistant)
            ids = conversations.begin_replies(
                session,
                assistant,
                guidelines,
                [route.version for route in routes],
                asked,
                completion_id=completion_id,
                sampling=_stored(turn.sampling),
                release_ids=[route.release_id if route.by_share else None for route in routes],
            )
            return conversations.with_guidelines(guidelines, turn.messages), ids

    def _store_choice(self, choice: Choice, status: MessageStatus, cause: str | None = None) -> None:
        with self._database.write() as session:
            conversations.finish_reply(
                session,
                choice.message_id,
                choice.text,
                status,
                finish_reason=choice.finish_reason or cause,
                prompt_tokens=choice.prompt_tokens,
                completion_tokens=choice.completion_tokens,
            )

    async def _close(
        self, reply: Reply, writers: list[asyncio.Task[None]], status: MessageStatus, cause: str | None
    ) -> None:
        """Stop the writers and store what isn't complete, and why. If the database is away the client must hear of its
        error all the same; housekeeping closes the reply later."""
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        for choice in reply.choices:
            if choice.stored:
                continue
            try:
                await asyncio.to_thread(self._store_choice, choice, status, cause)
            except Exception as error:
                _log.error("reply not stored", completion_id=reply.completion_id, **whereabouts(error))


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do what must not be left half done: a cancellation that comes meanwhile comes too late."""
    working = asyncio.ensure_future(work)
    while not working.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([working])
    working.result()


def _took_too_long(seconds: float) -> TimedOut:
    return TimedOut(
        f"The reply wasn't finished within {seconds:g} seconds, the longest that a request may take here, waiting "
        "included. Ask for fewer tokens with `max_tokens`, or have BURNISH_REQUEST_SECONDS raised."
    )


def _stored(sampling: SamplingParams) -> dict[str, Any]:
    """The settings as small JSON: of what may be long, the hash."""
    values = asdict(sampling)
    for name in ("logit_bias", "json_schema"):
        if value := values.pop(name):
            values[f"{name}_sha256"] = hashlib.sha256(json.dumps(value).encode()).hexdigest()
    return values
