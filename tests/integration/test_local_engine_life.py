"""The local engine's child through starts, signals and restarts, and which versions it holds meanwhile."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from adapters import make_adapter

from feedback.errors import BurnishError, EngineUnavailable, NotFound
from service.engines.base import BASE, GenerationRequest, SamplingParams
from service.engines.local import LocalEngine
from service.engines.local import engine as engine_module

DEADLINE_SECONDS = 60


@asynccontextmanager
async def running(base: Path, **options: Any) -> AsyncGenerator[LocalEngine, None]:
    engine = LocalEngine(str(base), base, device="cpu", dtype="float32", threads=1, **options)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


def request(version: str = BASE, tokens: int = 4) -> GenerationRequest:
    sampling = SamplingParams(max_tokens=tokens, temperature=0, ignore_eos=True)
    return GenerationRequest([{"role": "user", "content": "the key"}], sampling, version)


async def tokens_of(engine: LocalEngine, asked: GenerationRequest) -> int:
    return [delta async for delta in engine.generate(asked)][-1].completion_tokens


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110  nothing announces it
            await asyncio.sleep(0.01)


def child(engine: LocalEngine) -> int:
    assert engine._process is not None
    return engine._process.pid


async def restart(engine: LocalEngine) -> None:
    pid = child(engine)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: engine.health().ready and child(engine) != pid)


def test_a_load_whose_caller_is_cancelled_leaves_nothing_unknown(tiny_base: Path, tmp_path: Path) -> None:
    version, folder = make_adapter(tiny_base, tmp_path / "a", seed=1)

    async def scenario() -> None:
        async with running(tiny_base) as engine:
            for _ in range(3):
                loading = asyncio.create_task(engine.load(version, folder))
                await asyncio.sleep(0)  # until it has asked the child
                await asyncio.sleep(0)
                loading.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await loading
            await until(lambda: engine.health().loaded == (version,))
            assert await tokens_of(engine, request(version)) == 4
            await engine.unload(version)
            with pytest.raises(NotFound):
                await tokens_of(engine, request(version))
            # and one that is unloaded while it is still being loaded
            loading = asyncio.create_task(engine.load(version, folder))
            await asyncio.sleep(0)
            loading.cancel()
            await engine.unload(version)
            assert engine.health().loaded == ()
            with pytest.raises(NotFound):
                await tokens_of(engine, request(version))

    asyncio.run(scenario())


@pytest.mark.parametrize("wanted", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_ends_no_reply(tiny_base: Path, wanted: signal.Signals) -> None:
    async def scenario() -> None:
        async with running(tiny_base) as engine:
            stream = engine.generate(request(tokens=200))
            await anext(stream)
            pid = child(engine)
            os.kill(pid, wanted)
            *_, last = [delta async for delta in stream]
            assert (last.completion_tokens, last.finish_reason) == (200, "length")
            assert await tokens_of(engine, request()) == 4
            assert child(engine) == pid

    asyncio.run(scenario())


@pytest.mark.parametrize("failure", ["its files are gone", "the child fails on it"])
def test_a_version_that_a_new_child_cannot_load_is_left_out(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    lost, kept = (make_adapter(tiny_base, tmp_path / str(seed), seed=seed) for seed in (1, 2))

    async def scenario() -> None:
        async with running(tiny_base) as engine:
            await engine.load(*lost)
            await engine.load(*kept)
            if failure == "its files are gone":
                shutil.rmtree(lost[1])
            else:
                after_loads(monkeypatch, lambda asked: refuse() if asked == lost[0] else None)
            await restart(engine)
            assert engine.health().loaded == (kept[0],)
            assert await tokens_of(engine, request(kept[0])) == 4

    def refuse() -> None:
        raise BurnishError("The engine failed on this request.")

    asyncio.run(scenario())


def after_loads(monkeypatch: pytest.MonkeyPatch, do: Callable[[str], None]) -> None:
    """Do something when the child has loaded a version, before the parent knows."""
    ask = LocalEngine._ask_child

    async def ask_and_do(engine: LocalEngine, command: dict[str, Any]) -> Any:
        answer = await ask(engine, command)
        if command["op"] == "load":
            do(command["version"])
        return answer

    monkeypatch.setattr(LocalEngine, "_ask_child", ask_and_do)


def test_what_is_unloaded_during_a_restart_is_not_in_the_new_child(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, three = (make_adapter(tiny_base, tmp_path / str(seed), seed=seed) for seed in (1, 2, 3))

    async def scenario() -> None:
        async with running(tiny_base) as engine:
            for made in (one, two, three):
                await engine.load(*made)
            unloading: list[asyncio.Task[None]] = []

            def unload(loaded: str) -> None:
                if loaded == one[0]:
                    unloading.extend(asyncio.create_task(engine.unload(version)) for version in (one[0], three[0]))

            after_loads(monkeypatch, unload)
            await restart(engine)
            await asyncio.gather(*unloading)
            assert engine.health().loaded == (two[0],)
            for version in (one[0], three[0]):
                with pytest.raises(NotFound):
                    await tokens_of(engine, request(version))
            assert await tokens_of(engine, request(two[0])) == 4

    asyncio.run(scenario())


def test_a_child_that_hangs_while_it_starts_is_replaced(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, folder = make_adapter(tiny_base, tmp_path / "a", seed=1)

    async def scenario() -> None:
        async with running(tiny_base, silence_seconds=2.0) as engine:
            await engine.load(version, folder)
            monkeypatch.setattr(engine_module, "CLOSE_SECONDS", 0.5)
            stopped: list[int] = []
            ask = LocalEngine._ask_child

            async def ask_who_hangs(engine: LocalEngine, command: dict[str, Any]) -> Any:
                if command["op"] == "load" and not stopped:
                    stopped.append(child(engine))
                    os.kill(stopped[0], signal.SIGSTOP)
                return await ask(engine, command)

            monkeypatch.setattr(LocalEngine, "_ask_child", ask_who_hangs)
            await restart(engine)
            assert stopped
            assert child(engine) != stopped[0]
            assert await tokens_of(engine, request(version)) == 4

    asyncio.run(scenario())


def test_a_first_start_that_hangs_or_fails_oddly_is_told(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def start() -> None:
        engine = LocalEngine(str(tiny_base), tiny_base, device="cpu", threads=1)
        async with asyncio.timeout(DEADLINE_SECONDS):
            await engine.start()

    monkeypatch.setattr(engine_module, "CLOSE_SECONDS", 0.5)
    monkeypatch.setattr(engine_module, "START_SECONDS", 0.05)
    with pytest.raises(EngineUnavailable, match="didn't get ready within"):
        asyncio.run(start())

    async def fail(*arguments: Any) -> None:
        raise RuntimeError("odd")

    monkeypatch.setattr(engine_module, "START_SECONDS", 60)
    monkeypatch.setattr(LocalEngine, "_read_event", fail)
    with pytest.raises(RuntimeError, match="odd"):
        asyncio.run(start())
