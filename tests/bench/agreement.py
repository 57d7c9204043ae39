"""How far the served dtype agrees with float32, on a batch of greedy replies of an adapter.

Promises: the decoder that serves, reading the prompts and then taking the reference's tokens one at a time, all
replies side by side, as it would write them; its logits against transformers' and PEFT's in float32 (`reference`) at
the same positions, so that one other token doesn't count again in those after it. A reply whose likeliest tokens are
all equal is one that greedy sampling writes alike. Leaves out whether float32 itself is met: `exact`.
"""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from bench.figures import Result
from bench.prompts import ticket
from bench.reference import Reference

from feedback.config import BUNDLED_MODEL
from service.engines.adapter_format import TENSOR_FILE, read_adapter

PROMPTS = 16
MAX_TOKENS = 32


def measure(models: Path, adapter: Path, *, device: str, dtype: str) -> Result:
    version = read_adapter(adapter).sha256
    prompts = [ticket(number) for number in range(PROMPTS)]
    reference = Reference(models / BUNDLED_MODEL, {version: adapter})
    replies = reference.greedy(version, prompts, MAX_TOKENS)
    expected = [reference.logits(version, *pair) for pair in zip(prompts, replies, strict=True)]  # (T, V) each
    rendered = [reference.render(messages) for messages in prompts]
    del reference
    served = _served_logits(models, adapter, device, dtype, rendered, replies)
    compared = [compare_logits(*pair, tokens) for *pair, tokens in zip(expected, served, replies, strict=True)]
    divergence, equal, difference = (list(chain.from_iterable(values)) for values in zip(*compared, strict=True))
    return {
        "prompts": PROMPTS,
        "tokens": len(equal),
        "mean_kl_nats": sum(divergence) / len(divergence),
        "greedy_tokens_equal": sum(equal) / len(equal),
        "greedy_replies_equal": sum(all(tokens_equal) for _, tokens_equal, _ in compared) / PROMPTS,
        "mean_logprob_difference_nats": sum(difference) / len(difference),
    }


def compare_logits(reference: Any, served: Any, tokens: Sequence[int]) -> tuple[list[float], list[bool], list[float]]:
    """For each token of a reply, by the logits (T, V) that it was picked from: the KL divergence of what serves from
    the reference in nats, whether the likeliest token is the same, and how far the token's own log-probabilities are
    apart in nats."""
    import torch

    expected, found = (torch.as_tensor(logits).double().log_softmax(-1) for logits in (reference, served))  # (T, V)
    divergence = (expected.exp() * (expected - found)).sum(-1)
    equal = expected.argmax(-1) == found.argmax(-1)
    difference = (expected - found).abs()[range(len(tokens)), list(tokens)]
    return divergence.tolist(), equal.tolist(), difference.tolist()


def _served_logits(
    models: Path, adapter: Path, device: str, dtype: str, prompts: Sequence[list[int]], replies: Sequence[list[int]]
) -> list[Any]:
    """The logits (T, V) that the engine's decoder picks each of the replies' tokens from."""
    import torch
    from safetensors.torch import load_file

    from service.engines.local import base_model
    from service.engines.local.decoder import Chunk, open_decoder

    device = base_model.choose_device(device)
    model, tokenizer = base_model.load_base_model(
        str(models / BUNDLED_MODEL), base_model.choose_dtype(dtype, device), device
    )
    positions = max(len(prompt) + len(reply) for prompt, reply in zip(prompts, replies, strict=True))
    decoder = open_decoder(model, tokenizer, context_tokens=positions)
    described = read_adapter(adapter)
    decoder.add(described.sha256, decoder.prepare(described, load_file(adapter / TENSOR_FILE)))
    slots = decoder.open_slots(len(prompts))
    with torch.inference_mode():
        chunks = [Chunk(prompt, 0, described.sha256, 1, slot) for prompt, slot in zip(prompts, slots, strict=True)]
        logits = [[row] for row in decoder.forward(chunks).cpu()]
        for written in range(1, max(map(len, replies))):
            going = [row for row, reply in enumerate(replies) if written < len(reply)]
            chunks = [
                Chunk([replies[row][written - 1]], len(prompts[row]) + written - 1, described.sha256, 1, slots[row])
                for row in going
            ]
            for row, one in zip(going, decoder.forward(chunks).cpu(), strict=True):
                logits[row].append(one)
    return [torch.stack(rows) for rows in logits]
