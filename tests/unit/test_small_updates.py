"""An adapter that changes little does so in bfloat16, too: where it is trained, and where it is served.

What PEFT adds to a layer's product, which is bfloat16 by then, is lost wherever it is less than half a step between two
such numbers. The reference is transformers and PEFT in float32.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from families import Tokenless, tiny_model, tokens
from peft import LoraConfig, get_peft_model
from torch import Tensor

from service.engines.base import BASE
from service.engines.local.decoder import Chunk, open_decoder
from service.engines.local.native import library
from trainer.compute.log_probs import Compute

ROWS = [tokens(48, seed) for seed in range(12)]
Logits = Callable[[Any, bool], Tensor]


def small_adapter(family: str) -> Any:
    """In a model of weights that bfloat16 holds exactly; each update is a few thousandths of its product."""
    config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(tiny_model(family).bfloat16().float(), config, autocast_adapter_dtype=False)
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.001)
    return model


def by_transformers(model: Any, adapted: bool) -> Tensor:
    with torch.no_grad():
        if adapted:
            return torch.cat([model(torch.tensor([row])).logits[0].float() for row in ROWS])
        with model.disable_adapter():
            return by_transformers(model, True)


def by_training(model: Any, adapted: bool) -> Tensor:
    compute = Compute(model)
    head = compute.model.get_output_embeddings().weight.float()
    with torch.no_grad():
        if adapted:
            return compute.hidden(ROWS).float() @ head.T
        with model.disable_adapter():
            return compute.hidden(ROWS).float() @ head.T


def by_training_elsewhere(model: Any, adapted: bool) -> Tensor:
    """On a GPU, or of a kind that training has no layers for."""
    Compute(model)
    return by_transformers(model, adapted)


def by_serving(compiled: bool) -> Logits:
    def logits(model: Any, adapted: bool) -> Tensor:
        library.load.cache_clear()
        if compiled and library.load() is None:
            pytest.skip("compiled: the decoder wasn't built, or this processor can't run it")
        base = copy.deepcopy(model).unload()
        decoder = open_decoder(base, Tokenless(), context_tokens=64, compiled=compiled)
        assert decoder.name.startswith("compiled") == compiled
        if adapted:
            halves = {
                name: (module.lora_A["default"].weight, module.scaling["default"] * module.lora_B["default"].weight)
                for name, module in model.get_base_model().named_modules()
                if hasattr(module, "lora_A")
            }
            backend = decoder._backend
            backend.add_adapter("one", backend.pack_adapter(halves))
        slots = decoder.open_slots(len(ROWS))
        version = "one" if adapted else BASE
        return decoder.forward(
            [Chunk(row, 0, version, len(row), slot) for row, slot in zip(ROWS, slots, strict=True)]
        ).float()

    return logits


def share_told(logits: Logits, family: str) -> float:
    """How much of the adapter's effect in float32 is there in bfloat16."""
    model = small_adapter(family)
    exact = by_transformers(model, True) - by_transformers(model, False)
    model = model.bfloat16()
    found = logits(model, True) - logits(model, False)
    return float((found * exact).sum() / exact.square().sum())


@pytest.mark.parametrize(
    ("logits", "family"),
    [
        pytest.param(by_training, "llama", id="training"),
        pytest.param(by_training, "qwen2", id="training, with biases"),
        pytest.param(by_training_elsewhere, "llama", id="transformers' layers"),
        pytest.param(by_training_elsewhere, "gpt2", id="transformers' layers, gpt2"),
        pytest.param(by_serving(compiled=True), "llama", id="compiled", marks=pytest.mark.compiled),
        pytest.param(by_serving(compiled=False), "llama", id="transformers' decoder"),
        pytest.param(by_serving(compiled=False), "gpt2", id="transformers' decoder, gpt2"),
    ],
)
def test_a_small_update_counts_in_full(logits: Logits, family: str) -> None:
    assert share_told(by_transformers, family) < 0.8, "the update isn't small enough to show anything"
    assert share_told(logits, family) == pytest.approx(1.0, abs=0.2)
