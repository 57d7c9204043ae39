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
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import structlog

from feedback import contributors, conversations
from feedback.assistants import current_guidelines
from feedback.config import Settings
from feedback.database import Database
from feedback.errors import BurnishError, EngineUnavailable, TimedOut
from feedback.keys import Caller
from feedback.logs import whereabouts
from feedback.states import MessageStatus
from service.admission import Admission
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


@dataclass(eq=False)
class Reply:
    """A turn under way: read its `pieces()` or wait until it is `complete()`; then `choices` have all of it.

    `abandon()` it when nobody listens any more.
    """

    completion_id: str
    created: int
    model: str
    choices: list[Choice]
    with_logprobs: bool
    _unread: list[Piece] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _ended: bool = False
    _error: Exception | None = None
    _producer: asyncio.Task[None] | None = None
    _cut_short: BurnishError | None = None

    async def pieces(self) -> AsyncIterator[list[Piece]]:
        """What has been written since the last look, as soon as there is something; nothing after a `nudge`."""
        while not self._ended or self._unread:
            await self._news.wait()
            self._news.clear()
            unread, self._unread = self._unread, []
            if unread or not self._ended:
                yield unread
        if self._error is not None:
            raise self._error

    def nudge(self) -> None:
        """Let the reader of `pieces()` have its turn although nothing was written."""
        self._news.set()

    async def complete(self) -> "Reply":
        """Wait for all of it."""
        assert self._producer is not None
        await asyncio.wait([self._producer])
        if self._error is not None:
            raise self._error
        return self

    def abandon(self) -> None:
        if self._producer is not None and not self._producer.cancelling():  # it stores what there is: once is enough
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

    # ── for whoever writes it ──

    async def _begun(self) -> None:
        """Returns once there is something to read; raises the error if that is all there is."""
        await self._news.wait()
        if self._error is not None and not self._unread:
            raise self._error

    def _add(self, piece: Piece) -> None:
        self._unread.append(piece)
        self._news.set()

    def _end(self, error: Exception | None = None) -> None:
        self._ended, self._error = True, error
        self._news.set()

    def _cut(self, error: BurnishError) -> None:
        """Stop writing and end with `error`."""
        self._cut_short = self._cut_short or error
        self.abandon()


class Chat:
    def __init__(self, database: Database, engine: Engine, routing: Routing, settings: Settings, secret: bytes) -> None:
        self._database = database
        self._engine = engine
        self._routing = routing
        self._settings = settings
        self._secret = secret
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
            await reply._begun()
        except asyncio.CancelledError:
            reply.abandon()
            raise
        return reply

    async def _open(self, caller: Caller, turn: ChatTurn, deadline: float) -> Reply:
        """`deadline` is the event loop's time at which the reply is cut."""
        key = str(caller.api_key_id)
        async with AsyncExitStack() as opened:
            opened.enter_context(self._admission.places(key, turn.choices))
            route = await opened.enter_async_context(self._routing.use(caller, turn.model))
            health = self._engine.health()
            if not health.ready:
                raise EngineUnavailable(f"The engine is not ready: {health.detail}. Try again in a moment.")
            completion_id = f"chatcmpl-{secrets.token_hex(12)}"
            messages, message_ids = await asyncio.to_thread(self._store_turn, caller, turn, route, completion_id)
            choices = [Choice(index, message_id) for index, message_id in enumerate(message_ids)]
            with_logprobs = turn.sampling.logprobs is not None
            reply = Reply(completion_id, int(time.time()), route.model, choices, with_logprobs)
            request = GenerationRequest(messages, turn.sampling, route.version.sha256, key)
            reply._producer = asyncio.create_task(self._produce(reply, request, opened.pop_all(), deadline))
        reply._producer.add_done_callback(lambda _: self._replies.discard(reply))
        return reply

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

    def cut_short(self) -> None:
        """End the replies under way with an error, for a shutdown that can't wait."""
        for reply in self._replies:
            reply._cut(EngineUnavailable("The service is stopping and could not wait for this reply. Send it again."))

    def _producers(self) -> list[asyncio.Task[None]]:
        return [reply._producer for reply in self._replies if reply._producer is not None]

    async def _produce(self, reply: Reply, request: GenerationRequest, held: AsyncExitStack, deadline: float) -> None:
        """Write all choices side by side; store each before its last piece goes out. Its reader hears of every end."""
        self._replies.add(reply)  # not before: a task that is cancelled before its first step gives nothing back
        cut = _took_too_long(self._settings.request_seconds)
        late = asyncio.get_running_loop().call_at(deadline, reply._cut, cut)
        async with held:
            writers = [asyncio.create_task(self._write(reply, choice, request)) for choice in reply.choices]
            ended: Exception | None = None
            status = MessageStatus.FAILED
            try:
                await asyncio.gather(*writers)
            except asyncio.CancelledError:
                status = MessageStatus.STOPPED
                ended = reply._cut_short or EngineUnavailable("Nobody waited for this reply. Send it again.")
            except Exception as error:
                ended = error
                if not isinstance(error, BurnishError):
                    _log.error("reply failed", completion_id=reply.completion_id, **whereabouts(error))
            late.cancel()
            try:
                if ended is not None:
                    await _to_its_end(self._close(reply, writers, status))
            finally:
                reply._end(None if all(choice.stored for choice in reply.choices) else ended)

    async def _write(self, reply: Reply, choice: Choice, request: GenerationRequest) -> None:
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
                reply._add(Piece(choice.index, text, delta.finish_reason, delta.logprobs))
        finally:
            await deltas.aclose()
        if choice.finish_reason is None:
            raise EngineUnavailable("The engine ended a reply without finishing it. Try again.")

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

    async def _close(self, reply: Reply, writers: list[asyncio.Task[None]], status: MessageStatus) -> None:
        """Stop the writers and store what isn't complete. If the database is away the client must hear of its error
        all the same; housekeeping closes the reply later."""
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        for choice in reply.choices:
            if choice.stored:
                continue
            try:
                await asyncio.to_thread(self._store_choice, choice, status)
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
