"""The local engine by itself, through its seam: started, asked, closed."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feedback.config import BUNDLED_MODEL
from service.engines.base import ChatMessage, Engine, GenerationRequest, SamplingParams
from service.engines.local import LocalEngine


@asynccontextmanager
async def running(models: Path, **options: Any) -> AsyncGenerator[LocalEngine, None]:
    """The bundled model's engine; `options` as LocalEngine has them."""
    engine = LocalEngine(BUNDLED_MODEL, models, **options)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


@dataclass(frozen=True)
class Reply:
    text: str
    completion_tokens: int
    cached_tokens: int


async def greedy(engine: Engine, version: str, messages: Sequence[ChatMessage], max_tokens: int) -> Reply:
    """A whole reply; the likeliest token each time."""
    sampling = SamplingParams(max_tokens=max_tokens, temperature=0)
    deltas = [delta async for delta in engine.generate(GenerationRequest(messages, sampling, version))]
    last = deltas[-1]
    return Reply("".join(delta.text for delta in deltas), last.completion_tokens, last.cached_tokens)
