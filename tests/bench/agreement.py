"""How far the served dtype agrees with float32, on a batch of greedy replies of an adapter.

Promises: the engine as it serves, against transformers and PEFT in float32 (`reference`); a reply agrees up to its
first other token, since what follows answers another prefix. Leaves out whether float32 itself is met: `exact`.
"""

import asyncio
from pathlib import Path
from typing import Any

from bench.engine import Reply, greedy, running
from bench.figures import Result
from bench.prompts import ticket
from bench.reference import Reference, tokens_alike

from feedback.config import BUNDLED_MODEL
from service.engines.adapter_format import adapter_sha256
from service.engines.base import ScoreRequest

PROMPTS = 16
MAX_TOKENS = 32


def measure(models: Path, adapter: Path, *, device: str, dtype: str) -> Result:
    version = adapter_sha256(adapter)
    prompts = [ticket(number) for number in range(PROMPTS)]
    reference = Reference(models / BUNDLED_MODEL, {version: adapter})
    written = [reference.greedy(version, messages, MAX_TOKENS) for messages in prompts]
    shown = [reference.shown(tokens) for tokens in written]
    texts = [seen[-1] for seen in shown]
    expected = [reference.logprobs(version, *pair) for pair in zip(prompts, texts, strict=True)]

    async def ask() -> tuple[list[Reply], list[list[float]]]:
        async with running(models, device=device, dtype=dtype, max_batch=PROMPTS) as engine:
            await engine.load(version, adapter)
            replies = await asyncio.gather(*(greedy(engine, version, prompt, MAX_TOKENS) for prompt in prompts))
            scored = [ScoreRequest(*pair, version) for pair in zip(prompts, texts, strict=True)]
            return list(replies), await engine.score(scored)

    replies, scores = asyncio.run(ask())
    alike = [
        tokens_alike(seen, reply.text, reply.completion_tokens) for seen, reply in zip(shown, replies, strict=True)
    ]
    differences = [
        abs(one - other)
        for row, expected_row in zip(scores, expected, strict=True)
        for one, other in zip(row, expected_row, strict=True)
    ]
    return {
        "prompts": PROMPTS,
        "max_tokens": MAX_TOKENS,
        "greedy_tokens_equal": sum(alike) / sum(map(len, written)),
        "greedy_replies_equal": sum(same == len(tokens) for same, tokens in zip(alike, written, strict=True)) / PROMPTS,
        "mean_logprob_difference_nats": sum(differences) / len(differences),
    }


def compare_logits(reference: Any, served: Any) -> tuple[float, float]:
    """Mean KL divergence of what serves from the reference, in nats a token, and the share of equal likeliest tokens.

    Both are logits (T, V) of the same positions.
    """
    import torch

    expected, found = (torch.as_tensor(logits).double().log_softmax(-1) for logits in (reference, served))  # (T, V)
    divergence = (expected.exp() * (expected - found)).sum(-1).mean()
    return float(divergence), float((expected.argmax(-1) == found.argmax(-1)).double().mean())
