"""`POST /v1/chat/completions`, streaming or not, as OpenAI's clients speak it. Unknown parameters are ignored."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Annotated, Any, Literal, TypeVar

from litestar import Request, Response, post
from litestar.background_tasks import BackgroundTask
from litestar.params import JSONBody
from litestar.response import Stream
from litestar.serialization import encode_json
from pydantic import BaseModel, Field

from feedback.config import Settings
from feedback.errors import BurnishError, InvalidInput
from feedback.keys import Caller
from service.auth import may
from service.chat import Chat, ChatTurn, Piece, Reply
from service.engines.base import ChatMessage, SamplingParams
from service.errors import error_body

CLIENT_GONE = 499
"""Nobody reads this status: it is for the log."""

PING_SECONDS = 15.0
"""A comment goes out when no token has for this long, twice that at most, so that proxies keep the stream open."""


Result = TypeVar("Result")


StopString = Annotated[str, Field(max_length=500)]


class TextPart(BaseModel):
    type: str
    text: str = ""


class RequestMessage(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart] | None = None

    def text(self) -> str:
        if isinstance(self.content, list):
            other = next((part.type for part in self.content if part.type != "text"), None)
            if other is not None:
                raise InvalidInput(f"Content parts of type '{other}' can't be read: send text.", param="messages")
            return "".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(BaseModel):
    include_usage: bool = False


class ChatRequest(BaseModel):
    model: str
    messages: list[RequestMessage] = Field(min_length=1, max_length=1000)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    stop: StopString | Annotated[list[StopString], Field(max_length=4)] | None = None
    seed: int | None = None
    n: int | None = Field(None, ge=1, le=4)
    user: str | None = Field(None, max_length=200)
    safety_identifier: str | None = Field(None, max_length=200)
    metadata: dict[str, Any] | None = None
    store: bool | None = None

    def turn(self, settings: Settings) -> ChatTurn:
        """The request without OpenAI's spelling, its gaps filled from the settings."""
        roles = {"developer": "system"}
        messages: list[ChatMessage] = [
            {"role": roles.get(message.role, message.role), "content": message.text()} for message in self.messages
        ]
        if all(message["role"] == "system" for message in messages):
            raise InvalidInput("`messages` needs at least one user message.", param="messages")
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        conversation_id = (self.metadata or {}).get("conversation_id")
        if conversation_id is not None and (not isinstance(conversation_id, str) or len(conversation_id) > 200):
            raise InvalidInput("`metadata.conversation_id` is a string of at most 200 characters.", param="metadata")
        return ChatTurn(
            model=self.model,
            messages=messages,
            sampling=SamplingParams(
                max_tokens=self.max_completion_tokens or self.max_tokens or settings.default_max_tokens,
                temperature=settings.default_temperature if self.temperature is None else self.temperature,
                top_p=1.0 if self.top_p is None else self.top_p,
                stop=tuple(stop for stop in stops if stop),
                seed=self.seed,
            ),
            choices=self.n or 1,
            user=self.user or self.safety_identifier,
            conversation_id=conversation_id,
            store=self.store,
        )


@post("/v1/chat/completions", guards=[may("chat")], status_code=200)
async def create_chat_completion(
    request: Request[Any, Any, Any],
    data: JSONBody[ChatRequest],
    caller: Caller,
    chat: Chat,
    settings: Settings,
) -> Response[Any]:
    reply = await _while_connected(request, chat.begin(caller, data.turn(settings)))
    if reply is None:
        return Response({}, status_code=CLIENT_GONE)
    if data.stream:
        with_usage = data.stream_options is not None and data.stream_options.include_usage
        return Stream(
            server_sent_events(reply, with_usage),
            media_type="text/event-stream",
            headers={"cache-control": "no-cache", "x-accel-buffering": "no"},
            background=BackgroundTask(_abandon, reply),  # a client that left too early: its stream was never begun
        )
    try:
        complete = await _while_connected(request, reply.complete())
    finally:
        reply.abandon()  # a no-op when it is complete
    if complete is None:
        return Response({}, status_code=CLIENT_GONE)
    return Response(completion_body(reply, data.metadata))


def completion_body(reply: Reply, metadata: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "id": reply.completion_id,
        "object": "chat.completion",
        "created": reply.created,
        "model": reply.model,
        "system_fingerprint": None,
        "service_tier": "default",
        "metadata": metadata,
        "choices": [
            {
                "index": choice.index,
                "message": {"role": "assistant", "content": choice.text, "refusal": None},
                "finish_reason": choice.finish_reason,
                "logprobs": None,
            }
            for choice in reply.choices
        ],
        "usage": usage(reply),
    }


async def server_sent_events(reply: Reply, with_usage: bool) -> AsyncIterator[bytes]:
    """`data: {chunk}` events, then `data: [DONE]`; an error in mid-stream is an event of its own."""
    pinging = asyncio.create_task(_ping(reply))
    try:
        for choice in reply.choices:
            yield _event(reply, choice.index, {"role": "assistant", "content": ""}, None, with_usage)
        async for pieces in reply.pieces():
            yield b"".join(event for piece in pieces for event in _events(reply, piece, with_usage)) or b": ping\n\n"
        if with_usage:
            yield _data({**_chunk(reply), "choices": [], "usage": usage(reply)})
        yield b"data: [DONE]\n\n"
    except BurnishError as error:
        yield _data(error_body(error))
    except Exception as error:
        yield _data(error_body(error))
        raise
    finally:
        pinging.cancel()
        reply.abandon()  # a no-op when it is complete


def usage(reply: Reply) -> dict[str, int]:
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
    }


def _events(reply: Reply, piece: Piece, with_usage: bool) -> Iterator[bytes]:
    if piece.text:
        yield _event(reply, piece.index, {"content": piece.text}, None, with_usage)
    if piece.finish_reason is not None:
        yield _event(reply, piece.index, {}, piece.finish_reason, with_usage)


def _event(reply: Reply, index: int, delta: dict[str, str], finish_reason: str | None, with_usage: bool) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
    return _data({**_chunk(reply), "choices": [choice], **({"usage": None} if with_usage else {})})


def _chunk(reply: Reply) -> dict[str, Any]:
    return {
        "id": reply.completion_id,
        "object": "chat.completion.chunk",
        "created": reply.created,
        "model": reply.model,
        "system_fingerprint": None,
    }


def _data(value: dict[str, Any]) -> bytes:
    return b"data: " + encode_json(value) + b"\n\n"


async def _ping(reply: Reply) -> None:
    while True:
        written = reply.completion_tokens
        await asyncio.sleep(PING_SECONDS)
        if reply.completion_tokens == written:
            reply.nudge()


async def _abandon(reply: Reply) -> None:
    reply.abandon()


async def _while_connected(request: Request[Any, Any, Any], work: Coroutine[Any, Any, Result]) -> Result | None:
    """The result of `work`; None, and the work cancelled, when the client goes away first."""
    gone = asyncio.create_task(_disconnected(request))
    working = asyncio.create_task(work)
    try:
        await asyncio.wait({gone, working}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        gone.cancel()
        working.cancel()


async def _disconnected(request: Request[Any, Any, Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
