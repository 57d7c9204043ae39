"""The child process: commands in, steps of the scheduler, events out.

Promises: one thread owns model and scheduler, and whatever takes long (prompts to tokens, schemas, adapters' files) is
done beside it; a command is answered by exactly one `result` or `error`, a `generate` by deltas or an `error`. Leaves
out the pipe (`pipe`), restarts (`engine`) and batching (`scheduler`).

Commands: generate, cancel, score, score_text, load, unload; each with an `id`.
Events: ready, fatal, deltas `[[id, text, prompt_tokens, completion_tokens, finish_reason, cached_tokens, logprobs]…]`
(empty: a sign of life from a step that wrote nothing), result, error. `logprobs` are rows
`[token, logprob, bytes, [[token, logprob, bytes]…]]`.
"""

import contextlib
import ctypes
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from feedback.errors import AdapterRefused, BurnishError, InvalidInput, NotFound
from service.engines.adapter_format import TENSOR_FILE, read_adapter
from service.engines.base import BASE, TOO_LONG, Delta, SamplingParams, TokenLogprob
from service.engines.local import base_model
from service.engines.local.decoder import open_decoder
from service.engines.local.lane import Lane
from service.engines.local.pipe import Command, Pipe
from service.engines.local.scheduler import Scheduler
from service.engines.local.scoring import ScoreJob
from service.engines.local.structured import Schemas
from service.engines.local.threads import usable_threads
from service.engines.local.token_text import TokenText

SECONDS_BETWEEN_SIGNS = 1.0
SWITCH_SECONDS = 0.0005
"""How long a thread that prepares something may keep the one that steps from Python's lock: many times a step."""


def serve(
    pipe: Pipe,
    path: str,
    *,
    device: str,
    dtype: str,
    max_batch: int,
    max_context_tokens: int,
    kv_cache_mib: int,
    prefix_cache_mib: int,
    threads: int | None,
    compiled: bool,
) -> None:
    """Load the base model and serve until stdin ends."""
    try:
        torch.set_num_threads(threads or usable_threads())
        sys.setswitchinterval(SWITCH_SECONDS)
        memory = kv_cache_mib << 20, prefix_cache_mib << 20
        worker = Worker(pipe, path, device, dtype, max_batch, max_context_tokens, *memory, compiled)
    except BurnishError as error:
        pipe.send({"event": "fatal", **_described(error)})
        sys.exit(1)
    worker.run()


class Worker:
    def __init__(
        self,
        pipe: Pipe,
        path: str,
        device: str,
        dtype: str,
        max_batch: int,
        max_context_tokens: int,
        kv_cache_bytes: int,
        prefix_cache_bytes: int,
        compiled: bool,
    ) -> None:
        device = base_model.choose_device(device)
        model, self._tokenizer = base_model.load_base_model(path, base_model.choose_dtype(dtype, device), device)
        context_tokens = base_model.context_tokens(model, max_context_tokens)
        self._vocabulary_tokens = int(model.config.get_text_config().vocab_size)
        stop_tokens = base_model.stop_tokens(model, self._tokenizer)
        self._decoder = open_decoder(model, self._tokenizer, context_tokens=context_tokens, compiled=compiled)
        text = TokenText(self._tokenizer)
        self._scheduler = Scheduler(
            self._decoder,
            slots=max_batch,
            context_tokens=context_tokens,
            kv_cache_tokens=kv_cache_bytes // self._decoder.kv_token_bytes,
            prefix_cache_bytes=prefix_cache_bytes,
            stop_tokens=stop_tokens,
            decode=text.decode,
            describe=text.describe,
        )
        self._schemas = Schemas(self._tokenizer, self._vocabulary_tokens, stop_tokens)
        self._reader = Lane("reader", self._read_prompt)
        self._compiler = Lane("compiler", self._compile)
        self._preparing: dict[int, str] = {}  # requests in those two lanes, and their versions
        self._pipe = pipe
        self._told = 0.0
        self._retiring: dict[str, list[int]] = {}
        self._scores: dict[int, list[list[float] | None]] = {}
        self._handlers: dict[str, Callable[[Command], None]] = {
            "generate": self._generate,
            "begin": self._begin,
            "cancel": self._cancel,
            "score": self._score,
            "score_text": self._score_text,
            "load": self._load,
            "attach": self._attach,
            "unload": self._unload,
        }

    def run(self) -> None:
        self._scheduler.submit(0, BASE, [0], SamplingParams(max_tokens=1, temperature=0))
        self._scheduler.step()
        ready = {"context_tokens": self._scheduler.context_tokens, "decoder": self._decoder.name}
        self._pipe.send({"event": "ready", **ready})
        while True:
            self._take_commands()
            if self._scheduler.busy:
                self._step()
            self._retire()

    def _take_commands(self) -> None:
        """Handle what has arrived; wait for something when there is nothing else to do.

        An adapter is tried out when it comes: after that the replies under way go on first.
        """
        waiting, tried = not self._scheduler.busy, False
        while waiting or not (tried or self._pipe.commands.empty()):
            try:
                command = self._pipe.commands.get(timeout=SECONDS_BETWEEN_SIGNS if self._preparing else None)
            except queue.Empty:  # preparing is no silence either
                self._tell([])
                continue
            waiting, tried = False, command["op"] == "attach"
            try:
                self._handlers[command["op"]](command)
            except BurnishError as error:
                self._fail(command["id"], error)
            except Exception as error:  # one command must not take the others' replies with it
                traceback.print_exc()
                self._fail(command["id"], BurnishError(f"The engine failed on this request: {error!r}"))

    def _step(self) -> None:
        step = self._scheduler.step()
        if step.deltas or time.monotonic() - self._told > SECONDS_BETWEEN_SIGNS:  # reading a prompt is no silence
            self._tell([[id, *_delta_row(delta)] for id, delta in step.deltas])
        for job in step.scored:
            if job.id in self._scores:  # not cancelled meanwhile
                self._scores[job.id][job.index] = job.scores
                self._answer_scored(job.id)

    def _tell(self, rows: list[list[Any]]) -> None:
        self._told = time.monotonic()
        self._pipe.send({"event": "deltas", "deltas": rows})

    def _generate(self, command: Command) -> None:
        """Have the prompt made; `begin` follows."""
        self._check_version(command["version"])
        command["sampling"] = self._sampling(command["sampling"])
        self._preparing[command["id"]] = command["version"]
        self._reader.add(command)

    def _read_prompt(self, command: Command) -> None:
        """In the reader's thread: messages to tokens, then on to the schema, if there is one."""
        with self._prepared(command):
            context = self._scheduler.context_tokens
            if base_model.exceeds(self._tokenizer, command["messages"], context):
                raise _too_long(f"The prompt has more than {context} tokens", context, "messages")
            prompt = base_model.render(self._tokenizer, command["messages"])
            if len(prompt) >= context:
                raise _too_long(f"The prompt has {len(prompt)} tokens", context, "messages")
            self._check_tokens(prompt)
            command = {**command, "prompt": prompt}
            if command["sampling"].json_schema is not None:
                self._compiler.add(command)
                return
        self._pipe.commands.put({**command, "op": "begin"})

    def _sampling(self, values: dict[str, Any]) -> SamplingParams:
        bias = {int(token): value for token, value in values["logit_bias"].items()}  # JSON's keys are text
        stranger = next((token for token in bias if not 0 <= token < self._vocabulary_tokens), None)
        if stranger is not None:
            raise InvalidInput(
                f"logit_bias names token {stranger}; the model's are 0 to {self._vocabulary_tokens - 1}.",
                param="logit_bias",
            )
        return SamplingParams(**{**values, "stop": tuple(values["stop"]), "logit_bias": bias})

    def _compile(self, command: Command) -> None:
        """In the compiler's thread."""
        with self._prepared(command):
            command["matcher"] = self._schemas.matcher(command["sampling"].json_schema or "")
        self._pipe.commands.put({**command, "op": "begin"})

    @contextlib.contextmanager
    def _prepared(self, command: Command) -> Iterator[None]:
        """Whatever goes wrong here is what `begin` raises: the request is owed an answer."""
        try:
            yield
        except BurnishError as error:
            command["failure"] = error
        except Exception as error:
            traceback.print_exc()
            command["failure"] = BurnishError(f"The engine failed on this request: {error!r}")

    def _begin(self, command: Command) -> None:
        version = self._preparing.pop(command["id"], None)
        if version is None:  # cancelled meanwhile
            return
        if failure := command.get("failure"):
            raise failure
        prompt, sampling = command["prompt"], command["sampling"]
        self._scheduler.submit(command["id"], version, prompt, sampling, command["key"], command.get("matcher"))

    def _cancel(self, command: Command) -> None:
        self._preparing.pop(command["id"], None)
        self._reader.drop(command["id"])
        self._compiler.drop(command["id"])
        self._scores.pop(command["id"], None)
        self._scheduler.cancel(command["id"])

    def _score(self, command: Command) -> None:
        jobs = []
        for index, (messages, completion, version) in enumerate(command["requests"]):
            self._check_version(version)
            prompt = base_model.render(self._tokenizer, messages)
            tokens = [*prompt, *base_model.encode_completion(self._tokenizer, completion)]
            self._check_tokens(tokens)
            jobs.append(ScoreJob(command["id"], index, version, tokens, len(prompt)))
        self._queue_scores(command["id"], jobs)

    def _score_text(self, command: Command) -> None:
        self._check_version(command["version"])
        jobs = []
        for index, text in enumerate(command["texts"]):
            tokens = self._tokenizer(base_model.disarm(self._tokenizer, text))["input_ids"]
            self._check_tokens(tokens)
            jobs.append(ScoreJob(command["id"], index, command["version"], tokens, 1))
        self._queue_scores(command["id"], jobs)

    def _queue_scores(self, id: int, jobs: list[ScoreJob]) -> None:
        context = self._scheduler.context_tokens
        for job in jobs:
            if len(job.tokens) > context:
                raise _too_long(f"Text {job.index} to score has {len(job.tokens)} tokens", context, "messages")
        worth = [job for job in jobs if len(job.tokens) > job.first]
        self._scores[id] = [None if len(job.tokens) > job.first else [] for job in jobs]
        self._scheduler.score(worth)
        self._answer_scored(id)

    def _answer_scored(self, id: int) -> None:
        if None not in self._scores[id]:
            self._pipe.send({"event": "result", "id": id, "value": self._scores.pop(id)})

    def _load(self, command: Command) -> None:
        """Read the files in a thread of their own: streams go on meanwhile; `attach` follows."""
        threading.Thread(target=self._read_adapter, args=(command,), daemon=True).start()

    def _read_adapter(self, command: Command) -> None:
        folder = Path(command["folder"])
        try:
            described = read_adapter(folder, expected_sha256=command["version"])
            # not by mmap: safetensors 0.8 loses a few bytes a tensor that way
            tensors = load_file(folder / TENSOR_FILE, backend="pread")
            prepared: Any = self._decoder.prepare(described, tensors)
        except AdapterRefused as error:
            prepared = error
        except Exception as error:  # whatever a broken file makes the library raise
            prepared = AdapterRefused(f"{folder}: can't be read: {error} Save the adapter with PEFT again.")
        self._pipe.commands.put({**command, "op": "attach", "prepared": prepared})

    def _attach(self, command: Command) -> None:
        version = command["version"]
        for id in self._retiring.pop(version, []):  # wanted again before it was gone
            self._pipe.send({"event": "result", "id": id, "value": None})
        if version not in self._decoder.versions:
            if isinstance(command["prepared"], AdapterRefused):
                raise command["prepared"]
            self._decoder.add(version, command["prepared"])
        self._pipe.send({"event": "result", "id": command["id"], "value": None})

    def _unload(self, command: Command) -> None:
        self._retiring.setdefault(command["version"], []).append(command["id"])

    def _retire(self) -> None:
        wanted = set(self._preparing.values())
        idle = [name for name in self._retiring if name not in wanted and not self._scheduler.uses(name)]
        for version in idle:
            self._decoder.remove(version)
            self._scheduler.forget(version)
            _give_memory_back()
            for id in self._retiring.pop(version):
                self._pipe.send({"event": "result", "id": id, "value": None})

    def _check_version(self, version: str) -> None:
        if version == BASE:
            return
        if version not in self._decoder.versions or version in self._retiring:
            raise NotFound(f"Adapter version {version} is not loaded; load it first.", param="version")

    def _check_tokens(self, tokens: list[int]) -> None:
        """A tokenizer may know words that the model has no embeddings for."""
        stranger = max(tokens, default=0)
        if stranger >= self._vocabulary_tokens:
            text = self._tokenizer.decode([stranger])
            raise InvalidInput(f"The base model doesn't know the token '{text}': take it out.", param="messages")

    def _fail(self, id: int, error: BurnishError) -> None:
        self._pipe.send({"event": "error", "id": id, **_described(error)})


def _give_memory_back() -> None:
    """glibc keeps freed memory for itself until asked."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _delta_row(delta: Delta) -> list[Any]:
    logprobs = [[*_logprob_row(entry), [_logprob_row(other) for other in entry.top]] for entry in delta.logprobs]
    counts = delta.prompt_tokens, delta.completion_tokens
    return [delta.text, *counts, delta.finish_reason, delta.cached_tokens, logprobs]


def _logprob_row(entry: TokenLogprob) -> list[Any]:
    return [entry.token, entry.logprob, entry.bytes]


def _too_long(what: str, context: int, param: str) -> InvalidInput:
    return InvalidInput(
        f"{what}, the model's context is {context} with the reply. Shorten it.",
        param=param,
        code=TOO_LONG,
    )


def _described(error: BurnishError) -> dict[str, Any]:
    return {"kind": type(error).__name__, "message": error.message, "param": error.param, "code": error.code}
