"""The roads compared: a step of writing by each way to compute it, its distance from float32, and products alone.

Promises: no HTTP and no sampling; a rank-16 adapter on every row; the same rows, tokens and adapter for each decoder;
the median of several steps. KL divergence and the share of equal likeliest tokens compare logits, on given replies of
base and adapter, with transformers and PEFT in float32. "Products alone" are torch's kernels for the model's weights,
without adapter, attention or anything: what a decoder made of them could reach at best; the low-bit ones round the
weights and are no way to serve exactly.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from time import perf_counter
from typing import Any

from bench.agreement import compare_logits
from bench.deployment import random_adapter
from bench.figures import Result, Row, numbers, tell
from bench.prompts import ticket
from bench.reference import Reference

from feedback.config import BUNDLED_MODEL
from service.engines.adapter_format import adapter_sha256
from service.engines.base import BASE

STEPS = 15
CONTEXT_TOKENS = 64
PROMPTS = 8
REPLY_TOKENS = 40
GROUP = 32
"""Weights that share a scale in torch's four-bit kernel."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch", type=numbers, default=[1, 4, 16, 32], help="rows of a step, such as 1,4")


def measure(options: argparse.Namespace, models: Path) -> Result:
    base = models / BUNDLED_MODEL
    with tempfile.TemporaryDirectory() as folder:
        adapter = random_adapter(models, Path(folder) / "adapter", seed=1, rank=16)
        version = adapter_sha256(adapter)
        replies = _replies(base, version, adapter)
        rows = [
            _decoder(base, version, adapter, replies, options.batch, dtype, build)
            for dtype, build in (
                *(("float32", None), ("bfloat16", None)),
                *(("float32", build) for build in _builds()),
                *(("bfloat16", build) for build in _builds() if build.endswith("bf16")),
            )
        ]
    return {"rows": rows, "products_alone": [_products(base, kind, options.batch) for kind in KINDS]}


@dataclass(frozen=True)
class _Reply:
    version: str
    tokens: list[int]  # prompt and reply
    first: int  # where the reply begins
    logits: Any  # in float32 (T, V), the reply's


def _replies(base: Path, version: str, adapter: Path) -> list[_Reply]:
    from service.engines.local.base_model import render

    reference = Reference(base, {version: adapter})
    replies = []
    prompts = [ticket(number) for number in range(PROMPTS)]
    for which in (BASE, version):
        for messages, reply in zip(prompts, reference.greedy(which, prompts, REPLY_TOKENS), strict=True):
            prompt, logits = render(reference.tokenizer, messages), reference.logits(which, messages, reply)
            replies.append(_Reply(which, [*prompt, *reply], len(prompt), logits))
    return replies


def _builds() -> list[str]:
    """Those of the compiled decoder that this processor runs, the best one first."""
    from service.engines.local.native import library

    features = library.processor_features()
    return [name for name, needed in library.BUILDS.items() if needed <= features]


@contextmanager
def _with_build(name: str | None) -> Iterator[None]:
    """Only this one is found; None: as it is."""
    from service.engines.local.native import library

    builds = dict(library.BUILDS)
    if name is not None:
        library.BUILDS = {name: builds[name]}
    library.load.cache_clear()
    try:
        yield
    finally:
        library.BUILDS = builds
        library.load.cache_clear()


def _decoder(
    base: Path,
    version: str,
    adapter: Path,
    replies: list[_Reply],
    batches: list[int],
    dtype: str,
    build: str | None,
) -> Row:
    """build: of the compiled decoder; None: transformers' model."""
    import torch
    from safetensors.torch import load_file

    from service.engines.adapter_format import TENSOR_FILE, read_adapter
    from service.engines.local.base_model import load_base_model
    from service.engines.local.decoder import Chunk, open_decoder

    model, tokenizer = load_base_model(str(base), getattr(torch, dtype))
    with _with_build(build):
        decoder = open_decoder(model, tokenizer, context_tokens=2048, compiled=build is not None)
    decoder.add(version, decoder.prepare(read_adapter(adapter), load_file(adapter / TENSOR_FILE)))
    name = f"{decoder.name} ({build.removeprefix('kernels_')})" if build else decoder.name
    row: Row = {"decoder": name}
    with torch.inference_mode():
        for batch in batches:
            slots = decoder.open_slots(batch)
            decoder.forward([Chunk([*range(CONTEXT_TOKENS)], 0, version, 1, slot) for slot in slots])

            def step(at: int, slots: Any = slots) -> None:
                decoder.forward([Chunk([at], CONTEXT_TOKENS + at, version, 1, slot) for slot in slots])

            row[f"tokens_per_second_{batch}"] = batch / _median_seconds(step)
            tell(f"{name}, {batch} rows: {row[f'tokens_per_second_{batch}']:.0f} tokens/s")
        for which, of in ((BASE, "base"), (version, "adapter")):
            mine = [reply for reply in replies if reply.version == which]
            found = torch.cat([_logits(decoder, reply) for reply in mine])
            tokens = [token for reply in mine for token in reply.tokens[reply.first :]]
            divergence, equal, _ = compare_logits(torch.cat([reply.logits for reply in mine]), found, tokens)
            row[f"{of}_kl_millinats"], row[f"{of}_likeliest_equal"] = 1000 * fmean(divergence), fmean(equal)
    return row


def _logits(decoder: Any, reply: _Reply) -> Any:
    """What the decoder makes of a reply (T, V)."""
    from service.engines.local.decoder import Chunk

    (slot,) = decoder.open_slots(1)
    return decoder.forward([Chunk(reply.tokens[:-1], 0, reply.version, len(reply.tokens) - reply.first, slot)])


def _products(base: Path, kind: str, batches: list[int]) -> Row:
    """Tokens a second of the model's linear modules, one after the other, and nothing else."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base))
    shapes = [tuple(module.weight.shape) for module in model.modules() if isinstance(module, torch.nn.Linear)]
    products = [KINDS[kind](*shape) for shape in shapes]
    row: Row = {"products": kind}
    with torch.inference_mode():
        for batch in batches:
            inputs = {width: torch.randn(batch, width, dtype=torch.bfloat16) for _, width in shapes}

            def step(_: int, inputs: Any = inputs) -> None:
                for product, (_, width) in zip(products, shapes, strict=True):
                    product(inputs[width])

            row[f"tokens_per_second_{batch}"] = batch / _median_seconds(step)
    return row


def _median_seconds(step: Callable[[int], None]) -> float:
    seconds = []
    for number in range(STEPS + 2):
        began = perf_counter()
        step(number)
        seconds.append(perf_counter() - began)
    return median(seconds[2:])


def _plain(dtype_name: str) -> Callable[[int, int], Callable[[Any], Any]]:
    def make(outputs: int, inputs: int) -> Callable[[Any], Any]:
        import torch

        dtype = getattr(torch, dtype_name)
        weight = torch.randn(outputs, inputs).to(dtype)
        return lambda x: torch.nn.functional.linear(x.to(dtype), weight)

    return make


def _eight_bit(outputs: int, inputs: int) -> Callable[[Any], Any]:
    import torch

    weight = torch.randint(-127, 127, (outputs, inputs), dtype=torch.int8)
    scales = torch.rand(outputs, dtype=torch.bfloat16)
    return lambda x: torch.ops.aten._weight_int8pack_mm(x, weight, scales)


def _four_bit(outputs: int, inputs: int) -> Callable[[Any], Any]:
    import torch

    values = torch.randint(0, 15, (outputs, inputs), dtype=torch.int32)
    weight = torch.ops.aten._convert_weight_to_int4pack_for_cpu(values, 1)
    scales = torch.rand(inputs // GROUP, outputs, 2, dtype=torch.bfloat16)
    return lambda x: torch.ops.aten._weight_int4pack_mm_for_cpu(x, weight, GROUP, scales)


KINDS: dict[str, Callable[[int, int], Callable[[Any], Any]]] = {
    "torch, float32": _plain("float32"),
    "torch, bfloat16": _plain("bfloat16"),
    "torch, eight bits": _eight_bit,
    "torch, four bits": _four_bit,
}
