"""PEFT's LoRA layers on a base in half precision, so that small updates count: where nothing faster computes them.

PEFT adds an adapter to its layer's product when that is rounded already, and what is less than half a step between two
such numbers is lost. Here it goes into the product's sum, as it does where the engine serves.
Leaves out AdaLoRA, DoRA and quantized layers, which stay as PEFT has them.
"""

import types
from typing import Any

import torch
from peft.tuners.lora.layer import Linear
from torch import Tensor
from transformers.pytorch_utils import Conv1D

HALF = (torch.bfloat16, torch.float16)


def add_before_rounding(model: Any) -> None:
    """Change the model's plain LoRA layers in place; those in float32 have nothing to lose."""
    for module in model.modules():
        plain = type(module) is Linear and type(module.base_layer) in (torch.nn.Linear, Conv1D)
        if plain and module.base_layer.weight.dtype in HALF and not module.lora_variant:
            module.forward = types.MethodType(_forward, module)


def _forward(self: Any, x: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
    """(…, in) → (…, out)."""
    off = self.disable_adapters or self.merged
    names = [name for name in self.active_adapters if name in self.lora_A and not off]
    if not names or arguments or keywords:  # a batch of mixed adapters, for one
        result: Tensor = Linear.forward(self, x, *arguments, **keywords)
        return result
    added = sum(_update(self, name, x) for name in names).to(x.dtype)
    base = self.base_layer
    weight = base.weight if isinstance(base, Conv1D) else base.weight.T  # (in, out)
    result = torch.addmm(added.flatten(0, -2), x.flatten(0, -2), weight)
    return (result if base.bias is None else result + base.bias).unflatten(0, x.shape[:-1])


def _update(module: Any, name: str, x: Tensor) -> Tensor:
    low = module.lora_A[name](module.lora_dropout[name](x.to(module.lora_A[name].weight.dtype)))
    update: Tensor = module.lora_B[name](low) * module.scaling[name]
    return update
