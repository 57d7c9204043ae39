"""A turn on the chat page: what somebody says, or wants answered anew, and the reply while it is written.

With a script it comes as server-sent events, whose data is HTML that templates made: `begun` (the message and an empty
reply), `text` (the reply so far), `done` (all of it, with what can be said about it) or `failed`. Without one the
browser waits for the whole reply and sees its page.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

from litestar import Request, Response, get, post
from litestar.background_tasks import BackgroundTask
from litestar.response import Stream
from markupsafe import Markup

from feedback.config import Settings
from feedback.errors import BurnishError, InvalidInput, NotFound
from feedback.own_conversations import OwnThread, shortened
from feedback.states import MessageStatus
from service.api.chat import CLIENT_GONE, while_connected, whole
from service.chat import Chat, ChatTurn
from service.comparisons import Comparison
from service.engines.base import ChatMessage, SamplingParams
from service.errors import error_body, status_of
from service.reply import Reply
from service.web.chat import said, thread
from service.web.chat.thread import BEGINNING
from service.web.events import MEDIA_TYPE, event
from service.web.page import AnyResponse, Form, Page, signed_in
from service.web.site import HEADERS

SECONDS_BETWEEN_LOOKS = 0.06
"""The reply so far is sent this often at most: each time it is all of it, as HTML."""
MOST_CHARACTERS = 50_000


@post("/c", guards=[signed_in("chat")], status_code=200)
async def say(request: Request[Any, Any, Any], page: Page, form: Form, chat: Chat, settings: Settings) -> Response[Any]:
    """A message: in a new conversation with `assistant`, or after the reply that is named."""
    words = form.text("message").strip()
    if not words or len(words) > MOST_CHARACTERS:
        raise InvalidInput(f"A message has 1 to {MOST_CHARACTERS} characters.")
    label = form.given("conversation")
    before: list[ChatMessage] = []
    model = form.text("assistant")
    if label is None:
        label = f"{BEGINNING}{secrets.token_urlsafe(12)}"
    else:
        found = await asyncio.to_thread(thread.load, page, label)
        model, before = found.assistant, _before(found, form)
    messages: list[ChatMessage] = [*before, {"role": "user", "content": words}]
    return await _answer(request, page, chat, _turn(page, form, settings, model, messages, label), label)


@post("/c/{label:str}/again", guards=[signed_in("chat")], status_code=200)
async def answer_again(
    request: Request[Any, Any, Any], page: Page, label: str, form: Form, chat: Chat, settings: Settings
) -> Response[Any]:
    """Another answer to the message that a reply answered."""
    found = await asyncio.to_thread(thread.load, page, label)
    reply = thread.find(found, form.text("completion_id"), form.number("choice") or 0)
    if reply is None or reply.parent is None:
        raise NotFound("There is no such reply in this conversation.")
    messages = thread.history(found, found.messages[reply.parent])
    return await _answer(request, page, chat, _turn(page, form, settings, found.assistant, messages, label), label)


@get("/c/{label:str}/turn", guards=[signed_in("chat")], sync_to_thread=True)
def show_turn(page: Page, label: str) -> AnyResponse:
    """The conversation's last turn, for the script that stopped a reply."""
    found = thread.load(page, label)
    turns = thread.line(found)
    return page.render("chat/turn.html", turn=turns[-1], thread=found, last=True, asked=said.what_to_ask(page, turns))


def _before(found: OwnThread, form: Form) -> list[ChatMessage]:
    """Nothing, where the first reply was cut off before its name was told."""
    if form.given("completion_id") is None:
        return []
    reply = thread.find(found, form.text("completion_id"), form.number("choice") or 0)
    if reply is None:
        raise NotFound("There is no such reply in this conversation: open it again.")
    if reply.status == MessageStatus.WRITING:
        raise InvalidInput("The answer before is still being written: send this when it is there.")
    return thread.history(found, reply)


def _turn(page: Page, form: Form, settings: Settings, model: str, messages: list[ChatMessage], label: str) -> ChatTurn:
    two = form.ticked("two")
    return ChatTurn(
        model=model,
        messages=messages,
        sampling=SamplingParams(max_tokens=settings.default_max_tokens, temperature=settings.default_temperature),
        choices=2 if two else 1,
        user=page.someone.user,
        conversation_id=label,
        store=False if form.ticked("unlearnable") else None,
        comparison=Comparison() if two else None,
    )


async def _answer(request: Request[Any, Any, Any], page: Page, chat: Chat, turn: ChatTurn, label: str) -> Response[Any]:
    streams = MEDIA_TYPE in request.headers.get("accept", "")
    try:
        reply = await while_connected(request, chat.begin(page.caller, turn))
    except BurnishError as error:
        if not streams:
            raise
        content = event("failed", message=page.words(error.message))
        return Response(content, media_type=MEDIA_TYPE, status_code=status_of(error))
    if reply is None:
        return Response(b"", status_code=CLIENT_GONE)
    if not streams:
        if await whole(request, reply) is None:
            return Response(b"", status_code=CLIENT_GONE)
        return page.go(f"/c/{label}#r-{reply.completion_id}-0")
    return Stream(
        _events(page, reply, turn, label),
        media_type=MEDIA_TYPE,
        headers={**HEADERS, "x-accel-buffering": "no"},
        background=BackgroundTask(_abandon, reply),  # a client that left too early: its stream was never begun
    )


async def _events(page: Page, reply: Reply, turn: ChatTurn, label: str) -> AsyncIterator[bytes]:
    """Two blind replies are shown when both are there: who is quicker would tell them apart."""
    shown = turn.comparison is None
    asked = turn.messages[-1]["content"]
    told_at = 0.0
    try:
        html = page.markup("chat/begun.html", question=asked, model=turn.model)
        yield event("begun", html=html, url=f"/c/{label}", conversation=label, title=shortened(asked))
        async for _ in reply.pieces():
            now = asyncio.get_running_loop().time()
            if shown and now - told_at >= SECONDS_BETWEEN_LOOKS:
                told_at = now
                html = await asyncio.to_thread(page.markup, "chat/words.html", words=reply.choices[0].text)
                yield event("text", html=html)
        yield event("done", html=await asyncio.to_thread(_last_turn, page, label))
    except BurnishError as error:
        html = await asyncio.to_thread(_last_turn, page, label)
        yield event("failed", message=page.words(error.message), html=html)
    except Exception as error:
        yield event("failed", message=error_body(error)["error"]["message"])
        raise
    finally:
        reply.abandon()  # a no-op when it is complete


def _last_turn(page: Page, label: str) -> Markup:
    found = thread.load(page, label)
    turns = thread.line(found)
    asked = said.what_to_ask(page, turns)
    return page.markup("chat/turn.html", turn=turns[-1], thread=found, last=True, asked=asked)


async def _abandon(reply: Reply) -> None:
    reply.abandon()
