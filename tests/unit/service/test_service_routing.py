"""Loading and unloading beside requests that come at the wrong moment."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from feedback import adapters, assistants, releases, runs
from feedback.errors import EngineUnavailable
from feedback.keys import Caller
from feedback.models import AdapterVersion
from feedback.states import Role
from feedback.testing import House, make_database, make_settings
from service.engines.echo import EchoEngine
from service.routing import DATABASE_PROBLEM, ENGINE_PROBLEM, Routing

DEADLINE_SECONDS = 30


class SlowToUnload(EchoEngine):
    """Unloading takes until `go_on` is set, as it does when another process has to answer."""

    def __init__(self) -> None:
        super().__init__()
        self.unloading = asyncio.Event()
        self.go_on = asyncio.Event()

    async def unload(self, version: str) -> None:
        self.unloading.set()
        await self.go_on.wait()
        await super().unload(version)


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[House]:
    """An assistant with five versions, the last one live, where only two may stay loaded."""
    settings = make_settings(tmp_path, max_adapters=2)
    database = make_database(settings)
    house = House(settings, database)
    for _ in range(5):
        promote(house, publish(house))
    yield house
    database.close()


def publish(house: House) -> str:
    source = house.settings.data_folder / f"made-{os.urandom(4).hex()}"
    source.mkdir()
    (source / "adapter_config.json").write_text("{}")
    (source / "adapter_model.safetensors").write_bytes(os.urandom(8))
    return adapters.publish(source, house.settings.adapters)


def promote(house: House, sha256: str) -> None:
    with house.database.write() as session:
        assistant = assistants.get_assistant(session, house.name)
        run = runs.request(session, assistant, "a test", actor="test")
        version = adapters.register(session, assistant, sha256, run.id)
        runs.cancel(session, run.id, actor="test")
        releases.promote(session, assistant, version, actor="test", reason="a test", force=True)


def sha_of(house: House, number: int) -> str:
    with house.database.read() as session:
        found: AdapterVersion = adapters.get_version(session, f"{house.name}@{number}")[1]
        return found.sha256


@pytest.mark.parametrize("number", [1, 2])
def test_a_version_asked_for_while_others_are_unloaded_stays_loaded(crowded: House, number: int) -> None:
    """Version 1 is on its way out when it is asked for, version 2 is next."""

    async def scenario() -> None:
        engine = SlowToUnload()
        await engine.start()
        routing = Routing(crowded.database, engine, crowded.settings)
        caller = Caller(1, "test", Role.ADMIN, None)
        for older in (1, 2, 3, 4):
            async with routing.use(caller, f"support@{older}"):
                pass
        refreshing = asyncio.create_task(routing.refresh())
        await engine.unloading.wait()
        entered = asyncio.Event()

        async def ask() -> None:
            async with routing.use(caller, f"support@{number}"):
                entered.set()
                await refreshing
                assert sha_of(crowded, number) in engine.health().loaded

        asking = asyncio.create_task(ask())
        await asyncio.sleep(0.05)  # far enough to find its version, or to wait for it
        engine.go_on.set()
        await asking
        assert entered.is_set()

    asyncio.run(asyncio.wait_for(scenario(), DEADLINE_SECONDS))


def test_what_is_idle_and_over_the_limit_is_unloaded(crowded: House) -> None:
    async def scenario() -> None:
        engine = EchoEngine()
        await engine.start()
        routing = Routing(crowded.database, engine, crowded.settings)
        caller = Caller(1, "test", Role.ADMIN, None)
        async with routing.use(caller, "support@1"):
            for older in (2, 3, 4):
                async with routing.use(caller, f"support@{older}"):
                    pass
            await routing.refresh()
            assert set(engine.health().loaded) == {sha_of(crowded, 1), sha_of(crowded, 5)}  # in use; live

    asyncio.run(asyncio.wait_for(scenario(), DEADLINE_SECONDS))


class Forgetful(EchoEngine):
    """Can lose versions, as a restarted engine does that gets one refused."""

    async def forget(self) -> None:
        for version in self.health().loaded:
            await self.unload(version)


def test_a_version_that_the_engine_lost_is_loaded_again(crowded: House) -> None:
    async def scenario() -> None:
        engine = Forgetful()
        await engine.start()
        routing = Routing(crowded.database, engine, crowded.settings)
        caller = Caller(1, "test", Role.ADMIN, None)
        for model in ("support@1", "support"):
            async with routing.use(caller, model):
                pass
            await engine.forget()
            async with routing.use(caller, model) as route:
                assert route.version.sha256 in engine.health().loaded
        await engine.forget()
        await routing.refresh()
        assert engine.health().loaded == (sha_of(crowded, 5),)
        assert routing.problems == {}

    asyncio.run(asyncio.wait_for(scenario(), DEADLINE_SECONDS))


def test_a_live_version_that_the_engine_lost_for_good_is_told_until_it_is_back(crowded: House) -> None:
    async def scenario() -> None:
        engine = Forgetful()
        await engine.start()
        routing = Routing(crowded.database, engine, crowded.settings)
        caller = Caller(1, "test", Role.ADMIN, None)
        await routing.refresh()
        folder = crowded.settings.adapters / sha_of(crowded, 5)
        hidden = folder.rename(folder.with_suffix(".hidden"))
        await engine.forget()
        await routing.refresh()
        assert "support" in routing.problems
        assert "support@5" not in [route.model for route in routing.live_models()]
        with pytest.raises(EngineUnavailable, match="/health/ready"):
            async with routing.use(caller, "support"):
                pass
        hidden.rename(folder)
        await routing.refresh()
        assert routing.problems == {}
        async with routing.use(caller, "support") as route:
            assert route.model == "support@5"

    asyncio.run(asyncio.wait_for(scenario(), DEADLINE_SECONDS))


def test_a_database_that_does_not_answer_is_told_and_what_served_goes_on(crowded: House) -> None:
    async def scenario() -> None:
        engine = EchoEngine()
        await engine.start()
        settings = crowded.settings.model_copy(update={"release_poll_seconds": 0.01})
        routing = Routing(crowded.database, engine, settings)
        await routing.refresh()
        file = settings.data_folder / "burnish.sqlite3"
        crowded.database.close()
        hidden = file.rename(file.with_suffix(".hidden"))
        following = asyncio.create_task(routing.follow())
        await until(lambda: DATABASE_PROBLEM in routing.problems)
        async with routing.use(Caller(1, "test", Role.ADMIN, None), "support") as route:
            assert route.model == "support@5"
        crowded.database.close()
        file.unlink(missing_ok=True)
        hidden.rename(file)
        await until(lambda: DATABASE_PROBLEM not in routing.problems)
        following.cancel()

    asyncio.run(asyncio.wait_for(scenario(), DEADLINE_SECONDS))


class SlowToLoad(EchoEngine):
    """Loads what it was asked for, whoever has gone meanwhile, as the local engine does."""

    begun = 0

    async def load(self, version: str, folder: Path) -> None:
        self.begun += 1
        await asyncio.shield(asyncio.create_task(self._load_slowly(version, folder)))

    async def _load_slowly(self, version: str, folder: Path) -> None:
        await asyncio.sleep(0.1)
        await super().load(version, folder)


def test_versions_whose_clients_left_while_they_were_loaded_are_unloaded_too(crowded: House) -> None:
    async def scenario() -> None:
        engine = SlowToLoad()
        await engine.start()
        routing = Routing(crowded.database, engine, crowded.settings)
        caller = Caller(1, "test", Role.ADMIN, None)

        async def ask(model: str) -> None:
            async with routing.use(caller, model):
                pass

        for number in (1, 2, 3, 4):
            asking = asyncio.create_task(ask(f"support@{number}"))
            await until(lambda number=number: engine.begun == number)
            asking.cancel()
        await until(lambda: len(engine.health().loaded) == 4)
        await routing.refresh()
        assert len(engine.health().loaded) == crowded.settings.max_adapters
        assert sha_of(crowded, 5) in engine.health().loaded

    asyncio.run(asyncio.wait_for(scenario(), DEADLINE_SECONDS))


class Restarting(EchoEngine):
    """Is gone whenever something is to be unloaded."""

    async def unload(self, version: str) -> None:
        raise EngineUnavailable("The engine is restarting.")


def test_an_engine_that_does_not_answer_is_not_told_as_the_databases_fault(crowded: House) -> None:
    async def scenario() -> None:
        engine = Restarting()
        await engine.start()
        settings = crowded.settings.model_copy(update={"release_poll_seconds": 0.01})
        routing = Routing(crowded.database, engine, settings)
        caller = Caller(1, "test", Role.ADMIN, None)
        for older in (1, 2, 3):
            async with routing.use(caller, f"support@{older}"):
                pass
        following = asyncio.create_task(routing.follow())
        await until(lambda: bool(routing.problems))
        assert routing.problems == {ENGINE_PROBLEM: "The engine is restarting."}
        await until(lambda: not routing.problems)
        following.cancel()

    asyncio.run(asyncio.wait_for(scenario(), DEADLINE_SECONDS))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  nothing announces it
        await asyncio.sleep(0.01)
