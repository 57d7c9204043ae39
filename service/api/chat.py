"""`POST /v1/chat/completions`, streaming or not, as OpenAI's clients speak it; the body is `chat_request`'s."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from litestar import Request, Response, post
from litestar.background_tasks import BackgroundTask
from litestar.params import JSONBody
from litestar.response import Stream
from litestar.serialization import encode_json

from feedback.config import Settings
from feedback.errors import BurnishError
from feedback.keys import Caller
from service.api.chat_request import ChatRequest
from service.auth import may
from service.chat import Chat
from service.engines.base import TokenLogprob
from service.errors import error_body
from service.reply import Piece, Reply

CLIENT_GONE = 499
"""Nobody reads this status: it is for the log."""

PING_SECONDS = 15.0
"""A comment goes out when no token has for this long, twice that at most, so that proxies keep the stream open."""


LEAST_LOGPROB = -9999.0
"""What OpenAI writes for a token that is all but impossible: JSON has no infinity."""

Result = TypeVar("Result")


@post("/v1/chat/completions", guards=[may("chat")], status_code=200)
async def create_chat_completion(
    request: Request[Any, Any, Any],
    data: JSONBody[ChatRequest],
    caller: Caller,
    chat: Chat,
    settings: Settings,
) -> Response[Any]:
    reply = await while_connected(request, chat.begin(caller, data.turn(settings)))
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
    if await whole(request, reply) is None:
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
                "logprobs": logprobs_body(choice.logprobs) if reply.with_logprobs else None,
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


def usage(reply: Reply) -> dict[str, Any]:
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": reply.cached_tokens},
    }


def _events(reply: Reply, piece: Piece, with_usage: bool) -> Iterator[bytes]:
    if piece.text or piece.logprobs:
        yield _event(reply, piece.index, {"content": piece.text}, None, with_usage, piece.logprobs)
    if piece.finish_reason is not None:
        yield _event(reply, piece.index, {}, piece.finish_reason, with_usage)


def logprobs_body(entries: Sequence[TokenLogprob]) -> dict[str, Any]:
    return {
        "content": [{**_logprob(entry), "top_logprobs": [_logprob(other) for other in entry.top]} for entry in entries],
        "refusal": None,
    }


def _logprob(entry: TokenLogprob) -> dict[str, Any]:
    return {"token": entry.token, "logprob": max(entry.logprob, LEAST_LOGPROB), "bytes": list(entry.bytes)}


def _event(
    reply: Reply,
    index: int,
    delta: dict[str, str],
    finish_reason: str | None,
    with_usage: bool,
    entries: Sequence[TokenLogprob] = (),
) -> bytes:
    logprobs = logprobs_body(entries) if entries else None
    choice = {"index": index, "delta": delta, "finish_reason": finish_reason, "logprobs": logprobs}
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


async def whole(request: Request[Any, Any, Any], reply: Reply) -> Reply | None:
    """The reply when all of it is there; None, and the reply given up, when the client goes away first."""
    try:
        return await while_connected(request, reply.complete())
    finally:
        reply.abandon()  # a no-op when it is complete


async def while_connected(request: Request[Any, Any, Any], work: Coroutine[Any, Any, Result]) -> Result | None:
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
