"""The shipped fake keeps the seam's promises."""

import asyncio
from pathlib import Path

import pytest

from feedback.errors import AdapterRefused, EngineUnavailable, NotFound
from service.engines.base import BASE, Delta, Engine, GenerationRequest, SamplingParams, ScoreRequest
from service.engines.echo import EchoEngine

MESSAGES = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "tell me a story"}]


def request(version: str = BASE, **sampling: object) -> GenerationRequest:
    return GenerationRequest(MESSAGES, SamplingParams(**{"max_tokens": 20, "temperature": 0, **sampling}), version)


async def started(**options: float) -> Engine:
    engine = EchoEngine(**options)
    await engine.start()
    return engine


async def reply(engine: Engine, asked: GenerationRequest) -> tuple[str, Delta]:
    deltas = [delta async for delta in engine.generate(asked)]
    assert [delta.finish_reason for delta in deltas[:-1]] == [None] * (len(deltas) - 1)
    return "".join(delta.text for delta in deltas), deltas[-1]


def test_repeats_the_last_user_message_word_by_word() -> None:
    async def scenario() -> None:
        engine = await started()
        text, last = await reply(engine, request())
        assert text == "[base] tell me a story"
        assert (last.completion_tokens, last.finish_reason) == (5, "stop")
        assert await reply(engine, request()) == (text, last)

    asyncio.run(scenario())


def test_honours_stop_strings_max_tokens_and_seed() -> None:
    async def scenario() -> None:
        engine = await started()
        text, last = await reply(engine, request(stop=("a sto", "story")))
        assert (text, last.finish_reason) == ("[base] tell me ", "stop")
        text, last = await reply(engine, request(max_tokens=2))
        assert (text, last.finish_reason) == ("[base] tell", "length")
        one, two = [(await reply(engine, request(temperature=1, seed=seed)))[0] for seed in (1, 2)]
        assert one != two

    asyncio.run(scenario())


def test_versions_are_loaded_and_unloaded(tmp_path: Path) -> None:
    async def scenario() -> None:
        engine = await started()
        with pytest.raises(NotFound):
            await reply(engine, request("v" * 64))
        with pytest.raises(AdapterRefused):
            await engine.load("v" * 64, tmp_path / "nowhere")
        await engine.load("v" * 64, tmp_path)
        await engine.load("v" * 64, tmp_path)
        assert engine.health().loaded == ("v" * 64,)
        assert (await reply(engine, request("v" * 64)))[0].startswith("[vvvvvvvv] ")
        await engine.unload("v" * 64)
        await engine.unload("v" * 64)
        assert engine.health().loaded == ()

    asyncio.run(scenario())


def test_unload_waits_for_running_replies_and_closing_frees_them(tmp_path: Path) -> None:
    async def scenario() -> None:
        engine = await started(delay_seconds=0.001)
        assert isinstance(engine, EchoEngine)
        await engine.load("v", tmp_path)
        stream = engine.generate(request("v"))
        await anext(stream)
        unloading = asyncio.create_task(engine.unload("v"))
        await asyncio.sleep(0)
        assert not unloading.done()
        await stream.aclose()
        await unloading
        assert engine.running["v"] == 0

    asyncio.run(scenario())


def test_a_closed_engine_says_so() -> None:
    async def scenario() -> None:
        engine = await started()
        stream = engine.generate(request())
        await anext(stream)
        await engine.close()
        with pytest.raises(EngineUnavailable):
            await anext(stream)
        with pytest.raises(EngineUnavailable):
            await reply(engine, request())
        assert not engine.health().ready

    asyncio.run(scenario())


def test_scores_are_stable_and_differ_by_version(tmp_path: Path) -> None:
    async def scenario() -> None:
        engine = await started()
        await engine.load("v", tmp_path)
        base, again, other = await engine.score(
            [ScoreRequest(MESSAGES, "once upon a time", version) for version in (BASE, BASE, "v")]
        )
        assert base == again != other
        assert len(base) == 5
        assert all(-4 <= score <= 0 for score in base)
        assert [len(scores) for scores in await engine.score_text(["one two three", ""])] == [2, 0]

    asyncio.run(scenario())
