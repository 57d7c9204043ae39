"""The local engine on the bundled model: tokens a second at several concurrencies, with and without an adapter.

Held against transformers' own `generate`, one request at a time, in the same process run.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from statistics import median

from bench.figures import Figure

from feedback.config import BUNDLED_MODEL
from service.engines import open_engine
from service.engines.base import BASE, Engine, GenerationRequest, SamplingParams

NEW_TOKENS = 64
RUNS = 3
PROMPT = [{"role": "user", "content": "Write a long story about a lighthouse keeper and his dog."}]


def measure(models: Path) -> list[Figure]:
    reference = _transformers(models)
    plain = median(reference.values)
    return [reference, *asyncio.run(_engine(models, plain))]


async def _engine(models: Path, plain: float) -> list[Figure]:
    from adapters import make_adapter

    engine = open_engine("local", BUNDLED_MODEL, models)
    await engine.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            sha256, adapter = make_adapter(models / BUNDLED_MODEL, Path(folder) / "adapter", seed=1)
            await engine.load(sha256, adapter)
        figures = []
        for version, name in ((BASE, "base"), (sha256, "with an adapter")):
            for requests in (1, 4, 16):
                values = [await _tokens_per_second(engine, version, requests) for _ in range(RUNS)]
                ratio = f"{median(values) / plain:.1f} × transformers' generate"
                figures.append(Figure(f"engine, {requests} at once, {name}", "tokens/s", values, ratio))
        return figures
    finally:
        await engine.close()


async def _tokens_per_second(engine: Engine, version: str, requests: int) -> float:
    async def one(seed: int) -> int:
        sampling = SamplingParams(max_tokens=NEW_TOKENS, temperature=1.0, seed=seed)
        tokens = 0
        async for delta in engine.generate(GenerationRequest(PROMPT, sampling, version)):
            tokens = delta.completion_tokens
        return tokens

    began = time.perf_counter()
    written = await asyncio.gather(*(one(seed) for seed in range(requests)))
    return sum(written) / (time.perf_counter() - began)


def _transformers(models: Path) -> Figure:
    import torch

    from service.engines.local.base_model import choose_device, choose_dtype, load_base_model, render

    device = choose_device("auto")
    model, tokenizer = load_base_model(str(models / BUNDLED_MODEL), choose_dtype("auto", device), device)
    prompt = torch.tensor([render(tokenizer, PROMPT)], device=device)  # (1, T)
    values = []
    for seed in range(RUNS + 1):
        torch.manual_seed(seed)
        began = time.perf_counter()
        output = model.generate(prompt, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=True)
        values.append((output.shape[1] - prompt.shape[1]) / (time.perf_counter() - began))
    return Figure("transformers' generate, 1 at once, base", "tokens/s", values[1:])
