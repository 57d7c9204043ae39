"""Greedy replies of a version to many prompts at once, through the engine that serves."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from feedback.errors import InvalidInput
from feedback.run_folder import Turn
from service.engines.base import TOO_LONG, ChatMessage, Engine, GenerationRequest, SamplingParams

CONCURRENT_REPLIES = 16

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Generated:
    text: str
    tokens: int
    ended: bool
    """Whether the version ended it, rather than the most tokens."""


def messages(turns: Sequence[Turn]) -> list[ChatMessage]:
    return [{"role": turn.role, "content": turn.content} for turn in turns]


async def generate(
    engine: Engine,
    asked: Sequence[list[ChatMessage]],
    version: str,
    max_tokens: int,
    progress: Progress = lambda count: None,
) -> list[Generated | None]:
    """In the order asked; None where the prompt is too long."""
    slots = asyncio.Semaphore(CONCURRENT_REPLIES)
    greedy = SamplingParams(max_tokens=max_tokens, temperature=0.0)

    async def reply(conversation: list[ChatMessage]) -> Generated | None:
        request = GenerationRequest(conversation, greedy, version)
        try:
            async with slots:
                deltas = [delta async for delta in engine.generate(request)]
        except InvalidInput as error:
            if error.code != TOO_LONG:
                raise
            return None
        finally:
            progress(1)
        last = deltas[-1]
        return Generated("".join(delta.text for delta in deltas), last.completion_tokens, last.finish_reason == "stop")

    return list(await asyncio.gather(*(reply(conversation) for conversation in asked)))
