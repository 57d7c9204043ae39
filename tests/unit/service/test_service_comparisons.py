"""Who writes a comparison's two replies, in which order, and what happens when they say the same."""

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

import pytest
from sqlmodel import col, select

from feedback import adapters, assistants, releases, runs
from feedback.collect import comparisons
from feedback.columns import now
from feedback.errors import AdapterRefused, BurnishError, EngineUnavailable, NotFound
from feedback.models import AdapterVersion, Feedback, Message
from feedback.states import MessageStatus
from feedback.testing import SECRET, House
from service.chat import Chat, ChatTurn
from service.comparisons import Comparison
from service.engines.base import Delta, GenerationRequest, SamplingParams
from service.engines.echo import EchoEngine
from service.reply import Reply
from service.routing import Routing

DEADLINE_SECONDS = 30
MANY = 20
"""Comparisons among which both orders turn up, but for one time in half a million."""


class Samples(EchoEngine):
    """Says the texts it was given, one a request, and remembers the requests."""

    def __init__(self, *texts: str) -> None:
        super().__init__()
        self.texts = list(texts)
        self.asked: list[GenerationRequest] = []

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        self.asked.append(request)
        text = self.texts.pop(0)
        if text == "broken":
            raise EngineUnavailable("The engine stopped.")
        yield Delta(text, 3, 1, "stop")


def publish(house: House) -> str:
    """A version of its own, live."""
    source = house.settings.data_folder / f"made-{os.urandom(4).hex()}"
    source.mkdir()
    (source / "adapter_config.json").write_text("{}")
    (source / "adapter_model.safetensors").write_bytes(os.urandom(8))
    sha256 = adapters.publish(source, house.settings.adapters)
    with house.database.write() as session:
        run = runs.request(session, house.assistant, "a test", actor="test")
    held = runs.claim(house.database, "test", 60)
    assert held is not None
    with house.database.write() as session:
        version = adapters.register(session, house.assistant, sha256, run.id)
        runs.finish(session, held)
        releases.promote(session, house.assistant, version, actor="test", reason="a test", force=True)
    return sha256


def compares(house: House, what: str) -> None:
    with house.database.write() as session:
        assistants.set_policies(session, house.reload(), {"collect": {"comparison": what}}, actor="test")


def run(house: House, engine: EchoEngine, scenario: Callable[[Chat], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        await engine.start()
        routing = Routing(house.database, engine, house.settings)
        await scenario(Chat(house.database, engine, routing, house.settings, SECRET))

    asyncio.run(asyncio.wait_for(main(), DEADLINE_SECONDS))


async def compare(
    chat: Chat, house: House, *versions: int, words: str = "Tea?", temperature: float = 1.0, seed: int | None = None
) -> Reply:
    comparison = Comparison((versions[0], versions[1]) if versions else None)
    sampling = SamplingParams(max_tokens=50, temperature=temperature, seed=seed)
    turn = ChatTurn("support", [{"role": "user", "content": words}], sampling, choices=2, comparison=comparison)
    return await (await chat.begin(house.caller, turn)).complete()


def texts(reply: Reply) -> list[str]:
    return [choice.text for choice in reply.choices]


def stored(house: House, reply: Reply) -> list[tuple[Message, int]]:
    """Each candidate with its version's number."""
    with house.database.read() as session:
        found = session.exec(
            select(Message, AdapterVersion.number)
            .join(AdapterVersion, col(AdapterVersion.id) == col(Message.adapter_version_id))
            .where(Message.completion_id == reply.completion_id)
            .order_by(col(Message.choice_index))
        ).all()
    return [(message, number) for message, number in found]


def test_the_version_before_writes_one_of_them_in_an_order_that_tells_nothing(house: House) -> None:
    hashes = {"base": 0, publish(house)[:8]: 1, publish(house)[:8]: 2}
    compares(house, "previous")

    async def scenario(chat: Chat) -> None:
        orders = set()
        for number in range(MANY):
            reply = await compare(chat, house, words=f"Tea {number}?")
            assert reply.model == "support"
            both = stored(house, reply)
            assert [hashes[text[1:9]] for text in texts(reply)] == [version for _, version in both]
            assert [message.content for message, _ in both] == texts(reply)
            assert len({message.parent_id for message, _ in both}) == 1
            orders.add(tuple(version for _, version in both))
        assert orders == {(1, 2), (2, 1)}

    run(house, EchoEngine(), scenario)


@pytest.mark.parametrize(("what", "published"), [("same", 2), ("previous", 0)])
def test_the_version_that_serves_writes_both_by_policy_or_where_it_replaced_none(
    embedded: House, what: str, published: int
) -> None:
    for _ in range(published):
        publish(embedded)
    compares(embedded, what)

    async def scenario(chat: Chat) -> None:
        reply = await compare(chat, embedded, seed=7)
        assert [version for _, version in stored(embedded, reply)] == [published, published]
        assert len(set(texts(reply))) == 2  # two samples, each with a seed of its own

    run(embedded, EchoEngine(), scenario)


def test_a_version_before_that_is_tainted_writes_for_nobody(embedded: House) -> None:
    publish(embedded)
    publish(embedded)
    compares(embedded, "previous")
    with embedded.database.write() as session:
        adapters.get_number(session, embedded.assistant, 1).tainted_at = now()

    async def scenario(chat: Chat) -> None:
        assert [version for _, version in stored(embedded, await compare(chat, embedded))] == [2, 2]

    run(embedded, EchoEngine(), scenario)


def test_a_version_before_that_is_gone_is_done_without_but_not_one_that_was_named(embedded: House) -> None:
    first = publish(embedded)
    publish(embedded)
    compares(embedded, "previous")
    shutil.rmtree(embedded.settings.adapters / first)

    async def scenario(chat: Chat) -> None:
        reply = await compare(chat, embedded)
        assert [version for _, version in stored(embedded, reply)] == [2, 2]
        with pytest.raises(AdapterRefused):
            await compare(chat, embedded, 0, 1)
        with pytest.raises(NotFound):
            await compare(chat, embedded, 0, 7)
        named = await compare(chat, embedded, 0, 2)
        assert {version for _, version in stored(embedded, named)} == {0, 2}

    run(embedded, EchoEngine(), scenario)


def test_a_second_sample_that_says_the_same_is_written_once_more(house: House) -> None:
    engine = Samples("Tea.", "Tea.", "Coffee.")

    async def scenario(chat: Chat) -> None:
        reply = await compare(chat, house, seed=7)
        assert texts(reply) == ["Tea.", "Coffee."]
        assert [message.content for message, _ in stored(house, reply)] == ["Tea.", "Coffee."]

    run(house, engine, scenario)
    assert [request.sampling.seed for request in engine.asked] == [7, 8, 10]


@pytest.mark.parametrize(
    ("samples", "temperature"),
    [(["Tea.", "Tea.", "Tea."], 1.0), (["Tea.", "Tea."], 0.0), (["Tea.", "Tea.", "broken"], 1.0)],
    ids=["same again", "greedy", "the engine broke"],
)
def test_candidates_that_stay_the_same_are_complete_all_the_same(
    embedded: House, samples: list[str], temperature: float
) -> None:
    engine = Samples(*samples)

    async def scenario(chat: Chat) -> None:
        reply = await compare(chat, embedded, temperature=temperature)
        assert texts(reply) == ["Tea.", "Tea."]
        assert {message.status for message, _ in stored(embedded, reply)} == {MessageStatus.COMPLETE}

    run(embedded, engine, scenario)
    assert engine.texts == []


def test_a_comparison_whose_second_reply_fails_is_an_error(embedded: House) -> None:
    async def scenario(chat: Chat) -> None:
        with pytest.raises(BurnishError, match="The engine stopped"):
            await compare(chat, embedded)

    run(embedded, Samples("Tea.", "broken"), scenario)


def test_the_conversation_goes_on_from_the_candidate_that_was_taken(house: House) -> None:
    async def scenario(chat: Chat) -> None:
        reply = await compare(chat, house, seed=7)
        comparisons.choose(house.database, SECRET, house.caller, reply.completion_id, 1, user="ada")
        taken = {"role": "assistant", "content": texts(reply)[1]}
        history = [{"role": "user", "content": "Tea?"}, taken, {"role": "user", "content": "Why?"}]
        turn = ChatTurn("support", history, SamplingParams(max_tokens=50))
        later = await (await chat.begin(house.caller, turn)).complete()
        candidates = [message for message, _ in stored(house, reply)]
        (answer, _), *_ = stored(house, later)
        assert answer.conversation_id == candidates[1].conversation_id
        with house.database.read() as session:
            asked = session.get_one(Message, answer.parent_id)
            (choice,) = session.exec(select(Feedback)).all()
        assert asked.parent_id == candidates[1].id
        assert (choice.message_id, choice.value) == (candidates[1].id, {"rejected_message_id": candidates[0].id})

    run(house, EchoEngine(), scenario)


@pytest.mark.parametrize("choice", ["good", "bad"])
def test_both_may_be_good_or_bad(embedded: House, choice: Any) -> None:
    async def scenario(chat: Chat) -> None:
        reply = await compare(chat, embedded, seed=7)
        comparisons.choose(embedded.database, SECRET, embedded.caller, reply.completion_id, choice, comment="Hm.")
        first, second = (message for message, _ in stored(embedded, reply))
        with embedded.database.read() as session:
            (said,) = session.exec(select(Feedback)).all()
        assert (said.message_id, said.comment) == (first.id, "Hm.")
        assert said.value == {"tie": choice, "other_message_id": second.id}

    run(embedded, EchoEngine(), scenario)
