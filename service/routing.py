"""Which adapter version answers a request: follows the releases, pins requests, loads and unloads.

A release takes effect in three steps: the engine loads and probes the version, the pointer moves, and whoever runs on
the old version finishes there. Beside the live version another may serve a share of the conversations (a canary, or a
holdout): which of them, a hash of the conversation says, so that each stays with its version for as long as the share
does. If a step fails the old version goes on serving and `problems` says why. A live version that a restarted engine no
longer has is loaded again, or told as a problem until it can be.
"""

import asyncio
import hashlib
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import structlog
from sqlmodel import col, select

from feedback import adapters
from feedback.assistants import policies
from feedback.config import Settings
from feedback.database import Database
from feedback.errors import BurnishError, EngineUnavailable, NotFound
from feedback.keys import Caller
from feedback.logs import whereabouts
from feedback.models import AdapterVersion, Assistant, Release
from feedback.states import ON_TRIAL, ReleaseState
from service.auth import find_visible
from service.engines.base import BASE, Engine

_log = structlog.get_logger()
_NUMBER = re.compile(r"[0-9]{1,9}")


DATABASE_PROBLEM = "the database"
ENGINE_PROBLEM = "the engine"
"""Among `problems` beside assistants' names, which have no spaces."""


@dataclass(frozen=True)
class Route:
    """Who answers: fixed for a request from its first token to its last."""

    assistant: Assistant
    version: AdapterVersion
    release_id: int | None  # None: the client named the version
    by_share: bool = True  # whether chance alone gave it this version: only then does it tell of the version

    @property
    def model(self) -> str:
        """What `model` in the response says."""
        return BASE if self.assistant.name == BASE else f"{self.assistant.name}@{self.version.number}"


@dataclass(frozen=True)
class Beside:
    """A version that answers beside the live one: nobody (shadow), or a share of the conversations."""

    route: Route
    state: ReleaseState
    percent: int
    keys: frozenset[str]
    """Names of API keys whose conversations all go there."""

    def route_for(self, caller: Caller, conversation: str, live: Route) -> Route:
        if self.state == ReleaseState.CANARY and caller.name in self.keys:
            return replace(self.route, by_share=False)
        if self.state == ReleaseState.CANARY and place_of(f"{self.route.release_id}:{conversation}") < self.percent:
            return self.route
        # a holdout's are the last that the live version reached when it grew: none goes back and forth
        place = place_of(f"{live.release_id}:{conversation}")
        if self.state == ReleaseState.HOLDOUT and place >= 100 - self.percent:
            return self.route
        return live


def place_of(conversation: str) -> float:
    """Where a conversation lies between 0 and 100: those under a share have it, and go on having it when it grows.

    >>> 0 <= place_of("17:somebody's") < 100
    True
    """
    return int.from_bytes(hashlib.sha256(conversation.encode()).digest()[:6]) / 2**48 * 100


class Routing:
    def __init__(self, database: Database, engine: Engine, settings: Settings) -> None:
        self._database = database
        self._engine = engine
        self._settings = settings
        self._live: dict[int, Route] = {}
        self._beside: dict[int, Beside] = {}
        self._in_use: Counter[str] = Counter()
        self._recent: dict[str, None] = {}  # loaded versions, least recently used first
        self._loading = asyncio.Lock()
        self._refreshing = asyncio.Lock()
        self._assistants: dict[str, Assistant] = {}
        self.problems: dict[str, str] = {}
        """By assistant's name, `name: tainted`, or what is everybody's."""

    async def refresh(self) -> None:
        """Make what the database calls live what serves."""
        async with self._refreshing:
            for route in await asyncio.to_thread(self._read_live_routes):
                self._assistants[route.assistant.name] = route.assistant
                self._tell_taint(route)
                current = self._live.get(route.assistant.id)
                unchanged = current is not None and current.release_id == route.release_id
                if not unchanged or not self._is_loaded(route.version):
                    await self._take_over(route, current)
            await self._follow_trials()
            await self._unload_idle()

    async def _follow_trials(self) -> None:
        """What can't be loaded serves nobody, and says why."""
        found = {one.route.assistant.id: one for one in await asyncio.to_thread(self._read_beside)}
        trying = {f"{beside.route.assistant.name}: on trial" for beside in found.values()}
        for over in [name for name in self.problems if name.endswith(": on trial") and name not in trying]:
            del self.problems[over]
        for gone in self._beside.keys() - found.keys():
            beside = self._beside.pop(gone)
            _log.info("serves no more", model=beside.route.model)
        for assistant_id, beside in found.items():
            name = f"{beside.route.assistant.name}: on trial"
            try:
                self._check_base_model(beside.route)
                await self._load(beside.route.version)
            except BurnishError as error:
                self._beside.pop(assistant_id, None)
                if self.problems.get(name) != error.message:
                    _log.error("trial not taken up", model=beside.route.model, reason=error.message)
                self.problems[name] = error.message
                continue
            self.problems.pop(name, None)
            if self._beside.get(assistant_id) != beside:
                _log.info("serves beside", model=beside.route.model, state=beside.state, percent=beside.percent)
            self._beside[assistant_id] = beside

    async def _take_over(self, route: Route, current: Route | None) -> None:
        name = route.assistant.name
        lost = current is not None and current.release_id == route.release_id  # it served until the engine lost it
        try:
            self._check_base_model(route)
            await self._load(route.version)
        except BurnishError as error:
            if lost:
                self._live.pop(route.assistant.id, None)
            if self.problems.get(name) != error.message:
                kept = current.model if current and not lost else None
                _log.error("release not taken over", model=route.model, kept=kept, reason=error.message)
            self.problems[name] = error.message
            return
        self._live[route.assistant.id] = route
        self.problems.pop(name, None)
        _log.info("now live", model=route.model, before=current.model if current else None)

    def _tell_taint(self, route: Route) -> None:
        name = f"{route.assistant.name}: tainted"
        if route.version.tainted_at is None:
            self.problems.pop(name, None)
        else:
            self.problems[name] = (
                f"{route.model} serves on. {route.version.tainted_reason} Let a version from after that go live "
                f"(until there is one, {route.assistant.name}@0 if that is for this base model)."
            )

    async def follow(self) -> None:
        """Look for new releases for as long as the service runs."""
        while True:
            try:
                await self.refresh()
                found = {}
            except EngineUnavailable as error:  # whatever else an engine may answer is a release's own problem
                _log.warning("the engine did not follow the releases", reason=error.message)
                found = {ENGINE_PROBLEM: error.message}
            except Exception as error:
                _log.error("could not read releases", **whereabouts(error))
                found = {DATABASE_PROBLEM: "The database did not answer; what served goes on serving."}
            for name in (DATABASE_PROBLEM, ENGINE_PROBLEM):
                self.problems.pop(name, None)
            self.problems |= found
            await asyncio.sleep(self._settings.release_poll_seconds)

    @asynccontextmanager
    async def use(self, caller: Caller, model: str, conversation: str = "") -> AsyncIterator[Route]:
        """Pin a version for one request: `assistant`, `assistant@n` or `base`. `conversation`: what stays together."""
        route = await self._find(caller, model)
        beside = self._beside.get(route.assistant.id)
        if beside is not None and route.release_id is not None:
            route = beside.route_for(caller, conversation, route)
        self._check_base_model(route)
        self._in_use[route.version.sha256] += 1
        try:
            await self._load(route.version)
            yield route
        finally:
            self._in_use[route.version.sha256] -= 1

    def beside(self, assistant: Assistant) -> Beside | None:
        """What answers beside the live version, if anything does."""
        return self._beside.get(assistant.id)

    def serves_beside(self, route: Route) -> Route | None:
        """Of two versions that people are shown, the one that isn't this."""
        beside = self._beside.get(route.assistant.id)
        if beside is None or beside.state == ReleaseState.SHADOW or route.release_id is None:
            return None
        return self._live.get(route.assistant.id) if beside.route.release_id == route.release_id else beside.route

    def live_models(self) -> list[Route]:
        return sorted(self._live.values(), key=lambda route: route.assistant.name)

    def problems_for(self, caller: Caller) -> dict[str, str]:
        """Everybody's, and those of the assistants that the key sees."""
        return {
            what: told
            for what, told in self.problems.items()
            if (assistant := self._assistants.get(what.partition(":")[0])) is None or caller.sees(assistant)
        }

    async def _find(self, caller: Caller, model: str) -> Route:
        name, at, number = model.partition("@")
        if at:
            return await asyncio.to_thread(self._read_version, caller, model, name, number)
        for looked_again in (False, True):
            for route in self._live.values():
                if route.assistant.name == name and caller.sees(route.assistant):
                    return route
            if not looked_again:  # perhaps it was made a moment ago
                await self.refresh()
        if name in self.problems and await asyncio.to_thread(self._exists, caller, name):
            raise EngineUnavailable(f"'{name}' has no version that could be loaded: see /health/ready.")
        raise _unknown(model)

    def _check_base_model(self, route: Route) -> None:
        """What another base's adapter changes isn't here; the bare model is whichever this service runs."""
        if route.assistant.name != BASE and route.version.base_model != self._settings.base_model:
            raise EngineUnavailable(
                f"'{route.model}' is for {route.version.base_model}, this service runs {self._settings.base_model}: "
                "start one with BURNISH_BASE_MODEL set to it."
            )

    async def _load(self, version: AdapterVersion) -> None:
        if version.sha256 == BASE:
            return
        if not self._is_loaded(version):
            async with self._loading:
                if not self._is_loaded(version):
                    folder = self._folder(version)
                    await asyncio.to_thread(adapters.verify, self._settings.adapters, version)
                    self._touch(version.sha256)  # now: an engine may load it although whoever asked has gone
                    try:
                        await self._engine.load(version.sha256, folder)
                    except BurnishError:
                        self._recent.pop(version.sha256, None)
                        raise
        self._touch(version.sha256)

    def _touch(self, sha256: str) -> None:
        self._recent.pop(sha256, None)
        self._recent[sha256] = None

    def _is_loaded(self, version: AdapterVersion) -> bool:
        """Wanted here, so that it isn't on its way out, and there: an engine that restarts may lose what it had."""
        sha256 = version.sha256
        return sha256 == BASE or (sha256 in self._recent and sha256 in self._engine.health().loaded)

    async def _unload_idle(self) -> None:
        """Keep what is live, in use or most recently used; forget the rest, one at a time.

        A request may ask for a version while it or another one is being unloaded: each is looked at again before
        it goes, and whoever wants it back waits for the lock and loads it anew.
        """
        async with self._loading:
            while (sha256 := self._surplus()) is not None:
                del self._recent[sha256]
                await self._engine.unload(sha256)

    def _surplus(self) -> str | None:
        if len(self._recent) <= self._settings.max_adapters:
            return None
        live = {route.version.sha256 for route in self._live.values()}
        live |= {beside.route.version.sha256 for beside in self._beside.values()}
        return next((sha for sha in self._recent if sha not in live and not self._in_use[sha]), None)

    def _folder(self, version: AdapterVersion) -> Path:
        folder = adapters.folder_of(self._settings.adapters, version)
        assert folder is not None
        return folder

    def _read_live_routes(self) -> list[Route]:
        with self._database.read() as session:
            found = session.exec(
                select(Assistant, Release, AdapterVersion)
                .join(Release, col(Release.assistant_id) == col(Assistant.id))
                .join(AdapterVersion, col(AdapterVersion.id) == col(Release.adapter_version_id))
                .where(Release.state == ReleaseState.LIVE)
                .order_by(col(Assistant.id))
            )
            return [Route(assistant, version, release.id) for assistant, release, version in found]

    def _read_beside(self) -> list[Beside]:
        states = (*ON_TRIAL, ReleaseState.HOLDOUT)
        with self._database.read() as session:
            found = session.exec(
                select(Assistant, Release, AdapterVersion)
                .join(Release, col(Release.assistant_id) == col(Assistant.id))
                .join(AdapterVersion, col(AdapterVersion.id) == col(Release.adapter_version_id))
                .where(col(Release.state).in_(states))
                .order_by(col(Release.id).desc())  # a trial counts before a holdout
            ).all()
        return [
            Beside(
                Route(assistant, version, release.id),
                release.state,
                release.traffic_percent,
                frozenset(policies(assistant).release.canary_keys),
            )
            for assistant, release, version in reversed(found)
        ]

    def _exists(self, caller: Caller, name: str) -> bool:
        with self._database.read() as session:
            return find_visible(session, caller, name) is not None

    def _read_version(self, caller: Caller, model: str, name: str, number: str) -> Route:
        with self._database.read() as session:
            assistant = find_visible(session, caller, name)
            if assistant is None or not _NUMBER.fullmatch(number):
                raise _unknown(model)
            return Route(assistant, adapters.get_number(session, assistant, int(number)), None)


def _unknown(model: str) -> NotFound:
    return NotFound(
        f"The model '{model}' does not exist: GET /v1/models lists those that this key may use.",
        param="model",
        code="model_not_found",
    )
