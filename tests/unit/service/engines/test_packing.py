"""Which models the compiled decoder takes: whatever it doesn't know for certain runs on transformers."""

from typing import Any

import pytest
import torch
from families import FAMILIES, tiny_model
from transformers import LlamaForCausalLM, LlamaForSequenceClassification, MambaConfig, MambaForCausalLM

from service.engines.local.native.packing import unfit


class OtherLinear(torch.nn.Linear):
    """Computes on weights of its own kind, as quantized modules do."""


@pytest.mark.parametrize("family", FAMILIES)
def test_takes_llama_shaped_models(family: str) -> None:
    assert (unfit(tiny_model(family)) is None) == (family != "gpt2")


@pytest.mark.parametrize("name", ["model.layers.1.mlp.down_proj", "model.layers.0.mlp.extra", "lm_head"])
def test_leaves_linear_modules_of_another_kind_to_transformers(name: str) -> None:
    model = tiny_model("llama")
    parent, _, attribute = name.rpartition(".")
    plain = getattr(model.get_submodule(parent), attribute, torch.nn.Linear(64, 64))
    setattr(model.get_submodule(parent), attribute, OtherLinear(plain.in_features, plain.out_features, bias=False))
    assert unfit(model) == "its layers have other linear modules"


def test_leaves_quantized_models_to_transformers() -> None:
    model = tiny_model("llama")
    model.config.quantization_config = {"quant_method": "fp8"}
    assert "quantized" in str(unfit(model))


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "dynamic", "factor": 2.0},
        {"rope_type": "linear", "factor": 2.0, "partial_rotary_factor": 0.5},
    ],
)
def test_leaves_other_rotary_positions_to_transformers(rope: dict[str, Any]) -> None:
    config = tiny_model("llama").config
    config.rope_parameters = {"rope_theta": 10_000.0, **rope}
    assert "rotary" in str(unfit(LlamaForCausalLM(config)))


def test_a_model_of_another_build_is_unfit_whatever_it_lacks() -> None:
    model = tiny_model("llama")
    del model.model.rotary_emb
    assert unfit(model) is not None
    del model.model
    assert unfit(model) is not None
    assert unfit(LlamaForSequenceClassification(tiny_model("llama").config)) is not None
    mamba = MambaConfig(vocab_size=8, hidden_size=32, state_size=4, num_hidden_layers=1)
    assert unfit(MambaForCausalLM(mamba)) is not None
