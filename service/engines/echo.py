"""An engine without a model, for tests and demos: it repeats what it was told, and names the version that did.

Promises the whole seam with deterministic results: a reply is made of the version and the last user message, in
one delta a word. Loading asks only that the folder exists. Leaves out meaning: scores are made up, though stable, and
settings that pick between tokens change nothing.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from feedback.errors import AdapterRefused, EngineUnavailable, NotFound
from service.engines.base import (
    BASE,
    ChatMessage,
    Delta,
    EngineHealth,
    GenerationRequest,
    ScoreRequest,
    TokenLogprob,
)


class EchoEngine:
    """`delay_seconds` passes before each delta, so that a demo looks like writing and a test can interrupt it."""

    def __init__(self, *, delay_seconds: float = 0.0) -> None:
        self.delay_seconds = delay_seconds
        self.running: Counter[str] = Counter()
        """How many replies are being written, by version."""
        self._loaded: dict[str, Path] = {}
        self._ready = False
        self._finished = asyncio.Condition()

    async def start(self) -> None:
        self._ready = True

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        self._check(request.version)
        sampling = request.sampling
        words = reply_words(request)
        text, reason = "".join(words), "stop"
        ends = [at for stop in sampling.stop if stop and (at := text.find(stop)) >= 0]
        if ends:
            words = _cut(words, min(ends))
        if len(words) > sampling.max_tokens:
            words, reason = words[: sampling.max_tokens], "length"
        prompt_tokens = sum(len(message["content"].split()) + 1 for message in request.messages)
        self.running[request.version] += 1
        try:
            for index, word in enumerate(words, 1):
                await asyncio.sleep(self.delay_seconds)
                if not self._ready:
                    raise EngineUnavailable("The engine was closed while it wrote this reply; send the request again.")
                logprobs = () if sampling.logprobs is None else (_logprob(request.version, word, sampling.logprobs),)
                yield Delta(word, prompt_tokens, index, logprobs=logprobs)
            yield Delta("", prompt_tokens, len(words), "length" if reason == "length" else "stop")
        finally:
            self.running[request.version] -= 1
            await asyncio.shield(self._announce_finished())

    async def score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        for request in requests:
            self._check(request.version)
        return [
            [*_scores(request.version, request.completion, _last_user_message(request.messages)), -0.125]
            for request in requests
        ]

    async def score_text(self, texts: Sequence[str], version: str = BASE) -> list[list[float]]:
        self._check(version)
        return [_scores(version, text, "")[1:] for text in texts]

    async def load(self, version: str, folder: Path) -> None:
        if not self._ready:
            raise EngineUnavailable("The engine is not started; call start() first.")
        if not await asyncio.to_thread(folder.is_dir):
            raise AdapterRefused(f"{folder}: no such folder. Give the folder of an adapter version.")
        self._loaded.setdefault(version, folder)

    async def unload(self, version: str) -> None:
        async with self._finished:
            await self._finished.wait_for(lambda: not self.running[version])
        self._loaded.pop(version, None)

    async def close(self) -> None:
        self._ready = False
        self._loaded.clear()

    def health(self) -> EngineHealth:
        return EngineHealth(self._ready, "echo engine", tuple(self._loaded), running=self.running.total())

    async def _announce_finished(self) -> None:
        async with self._finished:
            self._finished.notify_all()

    def _check(self, version: str) -> None:
        if not self._ready:
            raise EngineUnavailable("The engine is not started; call start() first.")
        if version != BASE and version not in self._loaded:
            raise NotFound(f"Adapter version {version!r} is not loaded; load it first.", param="version")


def reply_words(request: GenerationRequest) -> list[str]:
    """The reply to a request, a word a delta; the seed shows when the temperature lets it matter.

    >>> from service.engines.base import SamplingParams
    >>> hello = [{"role": "user", "content": "good morning"}]
    >>> reply_words(GenerationRequest(hello, SamplingParams(max_tokens=9, temperature=0)))
    ['[base]', ' good', ' morning']
    >>> reply_words(GenerationRequest(hello, SamplingParams(max_tokens=9, seed=7), version="5f2c" * 16))
    ['[5f2c5f2c]', ' (seed', ' 7)', ' good', ' morning']
    """
    sampling = request.sampling
    seeded = f"(seed {sampling.seed}) " if sampling.seed is not None and sampling.temperature > 0 else ""
    first, *rest = f"[{request.version[:8]}] {seeded}{_last_user_message(request.messages)}".split()
    return [first, *(f" {word}" for word in rest)]


def _last_user_message(messages: Sequence[ChatMessage]) -> str:
    return next((message["content"] for message in reversed(messages) if message["role"] == "user"), "")


def _cut(words: list[str], end: int) -> list[str]:
    """The words that make up the first `end` characters.

    >>> _cut(["one", " two", " three"], 5)
    ['one', ' t']
    """
    kept: list[str] = []
    for word in words:
        if end <= 0:
            break
        kept.append(word[:end])
        end -= len(word)
    return kept


def _logprob(version: str, word: str, count: int) -> TokenLogprob:
    """A word as a token, with as many unlikelier ones as were asked for beside it."""
    logprob = _scores(version, word, "")[0] if word.strip() else 0.0
    others = [word, *(f"{word}{number}" for number in range(1, count))][:count]
    top = (TokenLogprob(other, logprob - place, tuple(other.encode())) for place, other in enumerate(others))
    return TokenLogprob(word, logprob, tuple(word.encode()), tuple(top))


def _scores(version: str, text: str, context: str) -> list[float]:
    """A made-up log-probability between −4 and 0 for each word; the same words always get the same."""
    return [-4 * hashlib.sha256(f"{version}\n{context}\n{word}".encode()).digest()[0] / 255 for word in text.split()]
