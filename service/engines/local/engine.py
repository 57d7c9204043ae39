"""The local engine's parent side: the seam, spoken to a child process that holds the model.

Promises: no torch in this process; a child that crashes or hangs fails the running requests with EngineUnavailable,
after which it is started again, with growing pauses, and given back the versions it had; a closed or dead parent
leaves no child behind. Leaves out what a step does (`worker`, `scheduler`).
"""

import asyncio
import contextlib
import itertools
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog

from feedback import errors
from feedback.errors import BurnishError, EngineUnavailable, QueueFull
from feedback.logs import whereabouts
from service.engines.base import (
    BASE,
    Delta,
    EngineHealth,
    FinishReason,
    GenerationRequest,
    ScoreRequest,
    TokenLogprob,
)
from service.engines.local.base_model import resolve_base_model

ROOT = str(Path(__file__).resolve().parents[3])
LINE_BYTES = 1 << 26
SILENCE_SECONDS = 30.0
START_SECONDS = 600.0
"""A child that isn't ready after so long hangs: the largest models are read in less."""
LOOK_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
CLOSE_SECONDS = 10.0

Event = dict[str, Any]
_log = structlog.get_logger()


class LocalEngine:
    """One base model in one child process.

    base_model: the bundled model's name, a folder or a hub id. models_folder: where the bundled one is prepared.
    device, dtype: "auto", or torch's names. max_batch: replies written at once. max_queue: requests that may wait
    beyond them. max_context_tokens: upper limit of prompt and reply together. kv_cache_mib: memory for the replies
    being written, prefix_cache_mib: for prompts read before. threads: CPU threads, else all that may be used.
    compiled: use the compiled decoder where it fits. silence_seconds: without a sign of life for so long, a child that
    has requests hangs.
    """

    def __init__(
        self,
        base_model: str,
        models_folder: Path,
        *,
        device: str = "auto",
        dtype: str = "auto",
        max_batch: int = 32,
        max_queue: int = 64,
        max_context_tokens: int = 8192,
        kv_cache_mib: int = 2048,
        prefix_cache_mib: int = 512,
        threads: int | None = None,
        compiled: bool = True,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self._base_model = base_model
        self._models_folder = models_folder
        self._options = [
            *("--device", device, "--dtype", dtype, "--max-batch", str(max_batch)),
            *("--max-context-tokens", str(max_context_tokens)),
            *("--kv-cache-mib", str(kv_cache_mib), "--prefix-cache-mib", str(prefix_cache_mib)),
            *("--threads", str(threads or 0), *([] if compiled else ["--no-compiled"])),
        ]
        self._max_batch = max_batch
        self._silence_seconds = silence_seconds
        self._most_requests = max_batch + max_queue
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._ids = itertools.count(1)
        self._streams: dict[int, asyncio.Queue[Event]] = {}  # the running generate calls
        self._answers: dict[int, asyncio.Future[Any]] = {}  # calls that wait for one result
        self._folders: dict[str, Path] = {}  # what is loaded, and again after a restart
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._ready = False
        self._detail = "not started"
        self._heard = 0.0  # when the child last said something, or was first asked

    async def start(self) -> None:
        if self._supervisor is not None:
            return
        path = await asyncio.to_thread(resolve_base_model, self._base_model, self._models_folder)
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._supervisor = asyncio.create_task(self._supervise(path, started))
        try:
            await started
        except BaseException:
            await self.close()
            raise

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        if len(self._streams) >= self._most_requests:
            raise QueueFull(
                f"{len(self._streams)} requests are running or waiting, and more would wait too long. "
                "Try again in a few seconds."
            )
        self._check_ready()
        id = next(self._ids)
        events: asyncio.Queue[Event] = asyncio.Queue()
        self._streams[id] = events
        finished = False
        try:
            await self._send(
                {
                    "op": "generate",
                    "id": id,
                    "messages": list(request.messages),
                    "sampling": asdict(request.sampling),
                    "version": request.version,
                    "key": request.key,
                }
            )
            while not finished:
                event = await events.get()
                if "kind" in event:
                    finished = True
                    raise _error(event)
                delta = _delta(*event["delta"])
                finished = delta.finish_reason is not None
                yield delta
        finally:
            self._streams.pop(id, None)
            if not finished:
                self._write({"op": "cancel", "id": id})

    async def score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        rows = [[list(request.messages), request.completion, request.version] for request in requests]
        return await self._ask({"op": "score", "requests": rows})  # type: ignore[no-any-return]

    async def score_text(self, texts: Sequence[str], version: str = BASE) -> list[list[float]]:
        command = {"op": "score_text", "texts": list(texts), "version": version}
        return await self._ask(command)  # type: ignore[no-any-return]

    async def load(self, version: str, folder: Path) -> None:
        """In a task of its own, for the child finishes what it began: who is cancelled meanwhile leaves a version that
        is known here and can be unloaded, not one that stays in the child for ever."""
        if version in self._folders:
            return
        loading = self._loading.get(version)
        if loading is None:
            loading = self._loading[version] = asyncio.create_task(self._load(version, folder))
            loading.add_done_callback(lambda done: done.cancelled() or done.exception())  # perhaps nobody waits for it
        await asyncio.shield(loading)

    async def _load(self, version: str, folder: Path) -> None:
        try:
            await self._ask({"op": "load", "version": version, "folder": str(folder)})
            self._folders[version] = folder
        finally:
            del self._loading[version]

    async def unload(self, version: str) -> None:
        if (loading := self._loading.get(version)) is not None:
            await asyncio.wait([loading])
        if self._folders.pop(version, None) is not None and self._ready:
            await self._ask({"op": "unload", "version": version})

    async def close(self) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.wait([self._supervisor])
            self._supervisor = None
        self._folders.clear()
        self._detail = "closed"

    def health(self) -> EngineHealth:
        ready, detail = self._ready, self._detail
        if ready and self._silent():
            ready, detail = False, f"requests wait, and the engine is silent for {self._silence_seconds:.0f} s"
        running = min(len(self._streams), self._max_batch)  # the child lets nobody wait while a slot is free
        return EngineHealth(ready, detail, tuple(self._folders), running, len(self._streams) - running)

    async def _supervise(self, path: str, started: "asyncio.Future[None]") -> None:
        """Run the child, and run it again whenever it dies; only the first start may fail for good."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            began = time.monotonic()
            try:
                await self._run_child(path, started)
                self._detail = "the engine's process ended; it is being restarted"
            except Exception as error:
                if not isinstance(error, BurnishError):
                    _log.error("the engine's process could not be followed", **whereabouts(error))
                if not started.done():
                    started.set_exception(error)
                    return
                self._detail = f"the engine can't be restarted: {error}"
            if time.monotonic() - began > LONGEST_PAUSE_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _run_child(self, path: str, started: "asyncio.Future[None]") -> None:
        """One life of the child; returns when it has ended and been reaped. Raises what kept it from starting."""
        self._detail = "starting"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "service.engines.local", "serve", path, *self._options),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
            env=_child_environment(),
        )
        self._process = process
        reader: asyncio.Task[None] | None = None
        try:
            async with _within(START_SECONDS, "didn't get ready"):
                first = await self._read_event(process)
            if first is None:
                raise EngineUnavailable("The engine's process ended while it started; its output says why.")
            if first["event"] == "fatal":
                raise _error(first)
            reader = asyncio.create_task(self._read_events(process))
            await self._load_again()
            if not reader.done():
                self._ready, self._detail = (
                    True,
                    f"{self._base_model} ({first['decoder']}), {first['context_tokens']} tokens of context",
                )
                if not started.done():
                    started.set_result(None)
            await self._while_alive(reader)
        finally:
            self._ready = False
            if reader is not None:
                reader.cancel()
            self._fail_running()
            await asyncio.shield(_end(process))
            self._process = None

    async def _while_alive(self, reader: asyncio.Task[None]) -> None:
        """Until the child has ended, or has left its requests without a sign of life for too long: it hangs."""
        while not reader.done() and not self._silent():
            looked = time.monotonic()
            await asyncio.wait([reader], timeout=LOOK_SECONDS)
            held_up = time.monotonic() - looked - LOOK_SECONDS
            if held_up > LOOK_SECONDS:  # so were we: a machine that slept says nothing about the child
                self._heard += held_up
        if not reader.done():
            _log.error("the engine's process hangs and is replaced", seconds=self._silence_seconds)

    def _silent(self) -> bool:
        return bool(self._streams or self._answers) and time.monotonic() - self._heard > self._silence_seconds

    async def _load_again(self) -> None:
        """After a restart: give the child the versions it had, but for those that it can't load now and those that
        nobody wants any more."""
        loaded = set()
        for version, folder in list(self._folders.items()):
            if version not in self._folders:
                continue
            try:
                async with _within(self._silence_seconds, "didn't load a version that it had"):
                    await self._ask_child({"op": "load", "version": version, "folder": str(folder)})
                loaded.add(version)
            except EngineUnavailable:
                raise
            except BurnishError as error:
                self._folders.pop(version, None)
                _log.error("version lost in a restart of the engine", version=version, reason=error.message)
        while unwanted := loaded - self._folders.keys():  # a version may be unloaded while the next one is loaded
            loaded.remove(version := unwanted.pop())
            async with _within(self._silence_seconds, "didn't unload a version"):
                await self._ask_child({"op": "unload", "version": version})

    async def _read_events(self, process: asyncio.subprocess.Process) -> None:
        while (event := await self._read_event(process)) is not None:
            self._heard = time.monotonic()
            if event["event"] == "deltas":
                for id, *row in event["deltas"]:
                    if id in self._streams:
                        self._streams[id].put_nowait({"delta": row})
            elif (id := event["id"]) in self._streams:
                self._streams[id].put_nowait(event)
            elif (answer := self._answers.get(id)) is not None and not answer.done():
                if event["event"] == "error":
                    answer.set_exception(_error(event))
                else:
                    answer.set_result(event["value"])
        self._fail_running()

    async def _read_event(self, process: asyncio.subprocess.Process) -> Event | None:
        """The child's next event; None when it has ended."""
        assert process.stdout is not None
        line = await process.stdout.readline()
        if not line.endswith(b"\n"):
            return None
        event: Event = json.loads(line)
        return event

    def _fail_running(self) -> None:
        error = EngineUnavailable("The engine stopped while it worked on this request. Send it again.")
        for events in self._streams.values():
            events.put_nowait({"kind": "EngineUnavailable", "message": error.message, "code": error.code})
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)

    async def _ask(self, command: Event) -> Any:
        self._check_ready()
        return await self._ask_child(command)

    async def _ask_child(self, command: Event) -> Any:
        id = next(self._ids)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[id] = answer
        try:
            await self._send({**command, "id": id})
            return await answer
        except asyncio.CancelledError:
            self._write({"op": "cancel", "id": id})
            raise
        finally:
            self._answers.pop(id, None)

    async def _send(self, command: Event) -> None:
        if len(self._streams) + len(self._answers) <= 1:
            self._heard = time.monotonic()
        self._write(command)
        process = self._process
        if process is not None and process.stdin is not None:
            with contextlib.suppress(ConnectionError):  # the reader notices that the child is gone
                await process.stdin.drain()

    def _write(self, command: Event) -> None:
        process = self._process
        if process is not None and process.stdin is not None and not process.stdin.is_closing():
            process.stdin.write(json.dumps(command).encode() + b"\n")

    def _check_ready(self) -> None:
        if not self._ready:
            raise EngineUnavailable(f"The engine isn't ready ({self._detail}). Try again shortly.")


@contextlib.asynccontextmanager
async def _within(seconds: float, failed: str) -> AsyncGenerator[None, None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise EngineUnavailable(f"The engine's process {failed} within {seconds:.0f} s.") from error


def _delta(
    text: str, prompt_tokens: int, completion_tokens: int, reason: FinishReason | None, cached_tokens: int, rows: Any
) -> Delta:
    """A row of the child's `deltas` event (`worker` describes it)."""
    logprobs = tuple(
        TokenLogprob(token, logprob, tuple(own), tuple(TokenLogprob(name, its, tuple(raw)) for name, its, raw in top))
        for token, logprob, own, top in rows
    )
    return Delta(text, prompt_tokens, completion_tokens, reason, cached_tokens, logprobs)


def _error(event: Event) -> BurnishError:
    """The child's error as the exception it was."""
    kind = getattr(errors, event["kind"], BurnishError)
    error: BurnishError = kind(event["message"], param=event.get("param"), code=event.get("code"))
    return error


def _child_environment() -> dict[str, str]:
    """Threads that wait for each other spin for a moment only: beside a training run, endless spinning made replies
    seven times slower, each core being busy with waiting for the other. And glibc keeps what tensors free: having a
    step's logits mapped anew each time made picking tokens four times slower."""
    path = os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")])
    keep = {"MALLOC_MMAP_THRESHOLD_": str(1 << 25), "MALLOC_TRIM_THRESHOLD_": str(1 << 28)}
    return {"GOMP_SPINCOUNT": "20000", **keep, **os.environ, "PYTHONPATH": path}


async def _end(process: asyncio.subprocess.Process) -> None:
    """End of stdin asks the child to stop; one that doesn't is killed. Either way it is reaped."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), CLOSE_SECONDS)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
