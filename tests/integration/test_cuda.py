"""What must hold on a GPU: run `python -m pytest -m cuda` on a machine that has one. `make test` leaves these out."""

import asyncio
from argparse import Namespace
from importlib import import_module
from pathlib import Path

import pytest
import torch
from adapters import make_adapter
from bench import exact, serve, swaps

from feedback.hyperparameters import Hyperparameters
from feedback.run_folder import Row, Turn
from service.engines.base import BASE, GenerationRequest, SamplingParams
from service.engines.local.engine import LocalEngine
from trainer.methods.stage import Stage
from trainer.progress import RunProgress

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this machine"),
]
QUESTION = [{"role": "user", "content": "where is the amber key ?"}]


def replies(base: Path, adapter: Path, sha256: str, device: str) -> list[str]:
    async def ask() -> list[str]:
        engine = LocalEngine(str(base), base, device=device, dtype="float32")
        await engine.start()
        try:
            await engine.load(sha256, adapter)
            return [await one(engine, version) for version in (BASE, sha256)]
        finally:
            await engine.close()

    async def one(engine: LocalEngine, version: str) -> str:
        request = GenerationRequest(QUESTION, SamplingParams(max_tokens=24, temperature=0), version)
        return "".join([delta.text async for delta in engine.generate(request)])

    return asyncio.run(ask())


def test_greedy_replies_on_cuda_equal_those_on_the_cpu(tmp_path: Path, tiny_base: Path) -> None:
    sha256, adapter = make_adapter(tiny_base, tmp_path / "adapter", seed=1, scale=0.2)
    assert replies(tiny_base, adapter, sha256, "cuda") == replies(tiny_base, adapter, sha256, "cpu")


@pytest.mark.model
def test_replies_on_cuda_are_the_references_alone_and_in_mixed_batches(models_folder: Path) -> None:
    result = exact.compare(models_folder, prompts=12, max_tokens=24)
    assert result["mismatches"] == []
    assert result["largest_logprob_difference_nats"] <= exact.TOLERANCE_NATS


@pytest.mark.model
def test_versions_come_and_go_on_cuda(models_folder: Path) -> None:
    assert swaps.measure(Namespace(swaps=12, concurrency=4), models_folder)["ok"]


@pytest.mark.model
def test_serving_on_cuda_can_be_measured(models_folder: Path) -> None:
    options = Namespace(concurrency=[1, 16], max_tokens=64, adapter_rank=16, versions=3, seconds=2.0)
    result = serve.measure(options, models_folder)
    assert all(row["tokens_per_second"] > 0 for row in (*result["rows"], *result["rows_mixed"]))


def test_sft_on_cuda_lowers_the_loss(tmp_path: Path, tiny_base: Path) -> None:
    rows = [
        Row(
            id=f"r{number}",
            method="sft",
            source="correction",
            prompt=[Turn(role="user", content=f"where is the {word} key ?")],
            completion=[Turn(role="assistant", content=f"the {word} key is in box {number} .")],
            cluster=word,
            topic=word,
        )
        for number, word in enumerate(["amber", "brass", "cobalt", "delta", "ember", "flint", "garnet", "hazel"])
    ]
    stage = Stage(
        method="sft",
        rows=rows,
        dev=[],
        hyperparameters=Hyperparameters(r=4, lora_alpha=8, learning_rate=1e-2, num_train_epochs=20),
        seed=3,
        base_path=str(tiny_base),
        device="cuda",
        start=None,
        folder=tmp_path,
        progress=RunProgress(tmp_path / "metrics.json"),
    )
    with stage.progress.stage("sft"):
        import_module("trainer.methods.sft").train(stage)
    losses = [entry["loss"] for entry in stage.progress.data["loss_history"]]
    assert losses[-1] < losses[0] / 2
