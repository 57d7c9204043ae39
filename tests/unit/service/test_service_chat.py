"""How a reply ends when two things happen at once."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import sqlmodel

from feedback import conversations
from feedback.errors import BurnishError, EngineUnavailable, TimedOut
from feedback.models import Message
from feedback.states import MessageStatus
from feedback.testing import House
from service.chat import Chat, ChatTurn
from service.engines.base import Delta, GenerationRequest, SamplingParams
from service.engines.echo import EchoEngine
from service.reply import Reply
from service.routing import Routing

DEADLINE_SECONDS = 30


class Fails(EchoEngine):
    """Writes a word, then breaks."""

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        yield Delta("one", 1, 1)
        raise EngineUnavailable("The engine stopped.")


class Storing:
    """Storing a reply takes until `go_on` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self._store = conversations.finish_reply
        monkeypatch.setattr(conversations, "finish_reply", self._wait_and_store)

    def _wait_and_store(self, *arguments: Any, **more: Any) -> None:
        self.begun.set()
        assert self.go_on.wait(DEADLINE_SECONDS)
        self._store(*arguments, **more)


@pytest.fixture
def storing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Storing]:
    made = Storing(monkeypatch)
    yield made
    made.go_on.set()


def run(
    house: House, engine: EchoEngine, scenario: Callable[[Chat], Awaitable[None]], request_seconds: float = 60
) -> None:
    async def main() -> None:
        await engine.start()
        settings = house.settings.model_copy(update={"request_seconds": request_seconds})
        routing = Routing(house.database, engine, settings)
        await scenario(Chat(house.database, engine, routing, settings, b"secret"))

    asyncio.run(asyncio.wait_for(main(), DEADLINE_SECONDS))


async def begin(chat: Chat, house: House, words: str = "good morning") -> Reply:
    turn = ChatTurn("support", [{"role": "user", "content": words}], SamplingParams(max_tokens=500))
    return await chat.begin(house.caller, turn)


async def read(reply: Reply) -> str:
    return "".join([piece.text async for pieces in reply.pieces() for piece in pieces])


def statuses(house: House) -> list[MessageStatus]:
    with house.database.read() as session:
        return list(session.exec(sqlmodel.select(Message.status).where(Message.role == "assistant")))


def test_a_reply_that_is_cut_while_its_failure_is_stored_ends_all_the_same(embedded: House, storing: Storing) -> None:
    async def scenario(chat: Chat) -> None:
        reply = await begin(chat, embedded)
        reading = asyncio.create_task(read(reply))
        await asyncio.to_thread(storing.begun.wait)
        chat.cut_short()
        await asyncio.sleep(0.05)
        storing.go_on.set()
        with pytest.raises(BurnishError, match=r"The engine stopped\."):
            await reading

    run(embedded, Fails(), scenario)
    assert statuses(embedded) == [MessageStatus.FAILED]


@pytest.mark.parametrize("leaves", [True, False], ids=["its client leaves", "it is cut"])
def test_a_reply_that_is_given_up_while_it_is_stored_is_complete(
    embedded: House, storing: Storing, leaves: bool
) -> None:
    async def scenario(chat: Chat) -> None:
        reply = await begin(chat, embedded)
        reading = asyncio.create_task(read(reply))
        await asyncio.to_thread(storing.begun.wait)
        if leaves:
            reply.abandon()
        else:
            chat.cut_short()
        await asyncio.sleep(0.05)
        storing.go_on.set()
        assert await reading == "[base] good morning"
        await chat.drain(5)

    run(embedded, EchoEngine(), scenario)
    assert statuses(embedded) == [MessageStatus.COMPLETE]


@pytest.mark.parametrize(("waits", "writes"), [(5.0, 0.0), (0.6, 0.05)], ids=["before it is written", "while it is"])
def test_waiting_for_a_version_is_part_of_a_requests_time(
    embedded: House, monkeypatch: pytest.MonkeyPatch, waits: float, writes: float
) -> None:
    find = Routing._find

    async def find_late(*arguments: Any) -> Any:
        await asyncio.sleep(waits)
        return await find(*arguments)

    monkeypatch.setattr(Routing, "_find", find_late)

    async def scenario(chat: Chat) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        with pytest.raises(TimedOut):
            await read(await begin(chat, embedded, " ".join(["word"] * 400)))
        assert 0.9 < clock() - began < 1.5

    run(embedded, EchoEngine(delay_seconds=writes), scenario, request_seconds=1)
