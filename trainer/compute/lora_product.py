"""Linear layers of one input with their LoRA adapters, as one product forward and backward.

An adapter's A and B are two thin products more, in the model's dtype; gradients come for them alone. What an adapter
adds goes into the sum of its layer's product before that is rounded, as the engine has it: added to a product that is
bfloat16 already, whatever is less than half a step between two such numbers is lost, and with it much of a lightly
trained adapter. Leaves out what stands between the products (llama_layers.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


class Unsupported(Exception):
    """The model isn't made of what this module computes."""


TYPICAL_TOKENS = 512
"""For which the packed order is made; it does for any number."""


@dataclass
class Lora:
    """One product's adapters, as of one forward pass: x @ a.T @ b is added to the product."""

    a: Tensor  # (R, in)
    b: Tensor  # (R, out), scaled; the members' blocks on the diagonal


@dataclass(frozen=True)
class Packed:
    """A frozen weight in oneDNN's order, for x @ weight.T and d @ weight: else each product puts it in order anew."""

    forward: Tensor
    backward: Tensor


class Product:
    """Linear layers of the same input, their frozen weights joined; each may have an adapter."""

    def __init__(self, modules: list[Any]) -> None:
        self.modules = modules
        linears = [getattr(module, "base_layer", module) for module in modules]
        if not all(type(linear) is torch.nn.Linear for linear in linears):
            raise Unsupported("a projection that isn't a plain linear layer")
        self.weight = join([linear.weight for linear in linears])  # (out, in)
        biases = [linear.bias for linear in linears]
        if any(bias is None for bias in biases) and any(bias is not None for bias in biases):
            raise Unsupported("biases on some projections only")
        self.bias = None if biases[0] is None else torch.cat([bias.detach() for bias in biases])
        self.packed: Packed | None = None
        self.edges = [0]
        for linear in linears:
            self.edges.append(self.edges[-1] + linear.out_features)

    def pack(self) -> None:
        """Keep the weight twice more, as oneDNN's products read it; where it can't, they go on putting it in order."""
        try:
            pack = torch.ops.mkldnn._reorder_linear_weight
            self.packed = Packed(pack(self.weight, TYPICAL_TOKENS), pack(self.weight.T.contiguous(), TYPICAL_TOKENS))
        except (AttributeError, RuntimeError):  # not in this build of torch, or not for this processor
            self.packed = None

    def times(self, x: Tensor, plus: Tensor | None) -> Tensor:
        """x @ weight.T + plus (+ bias); `plus` goes in before the sum is rounded."""
        if self.packed is None:
            if plus is None:
                return torch.nn.functional.linear(x, self.weight, self.bias)
            result = torch.addmm(plus, x, self.weight.T)
            return result if self.bias is None else result.add_(self.bias)
        return _packed_product(x, self.packed.forward, self.bias, plus)

    def times_back(self, d_out: Tensor, plus: Tensor | None) -> Tensor:
        """d_out @ weight + plus, likewise."""
        if self.packed is None:
            return d_out @ self.weight if plus is None else torch.addmm(plus, d_out, self.weight)
        return _packed_product(d_out, self.packed.backward, None, plus)

    def adapted(self) -> Iterator[tuple[Any, str, int, int]]:
        """The members with an active adapter: module, adapter's name, the columns of the product that are its."""
        for module, start, end in zip(self.modules, self.edges[:-1], self.edges[1:], strict=True):
            if getattr(module, "disable_adapters", True):
                continue
            for name in module.active_adapters:
                if name in getattr(module, "lora_A", {}):
                    yield module, name, start, end

    def parameters(self) -> list[Tensor]:
        """A and B of every active adapter, in the order in which `gradients` answers."""
        return [
            matrix
            for module, name, _, _ in self.adapted()
            for matrix in (module.lora_A[name].weight, module.lora_B[name].weight)
        ]

    def lora(self) -> Lora | None:
        members = list(self.adapted())
        if not members:
            return None
        dtype = self.weight.dtype
        a = torch.cat([module.lora_A[name].weight.detach() for module, name, _, _ in members]).to(dtype)
        b = a.new_zeros(len(a), len(self.weight))
        row = 0
        for module, name, start, end in members:
            matrix = module.lora_B[name].weight.detach()  # (out, r)
            rank = matrix.shape[1]
            torch.mul(matrix.T, module.scaling[name], out=b[row : row + rank, start:end])
            row += rank
        return Lora(a, b)

    def gradients(self, d_out: Tensor, inside: Tensor, d_inside: Tensor, source: Tensor) -> list[Tensor]:
        """Of the matrices of `parameters`, in float32, from x (`source`), x @ a.T (`inside`) and their slopes."""
        d_a = (d_inside.T @ source).float()  # (R, in)
        d_b = (d_out.T @ inside).float()  # (out, R)
        found: list[Tensor] = []
        row = 0
        for module, name, start, end in self.adapted():
            rank = module.lora_A[name].weight.shape[0]
            found += [d_a[row : row + rank], d_b[start:end, row : row + rank] * module.scaling[name]]
            row += rank
        return found


def join(weights: list[Tensor]) -> Tensor:
    """The weights one below the other; the modules' own become views of it, so that nothing is kept twice."""
    if len(weights) == 1:
        return weights[0].detach()
    joined = torch.cat([weight.detach() for weight in weights])
    start = 0
    for weight in weights:
        weight.data = joined[start : start + len(weight)]
        start += len(weight)
    return joined


def product(part: Product, lora: Lora | None, x: Tensor, added: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """x @ weight.T + x @ a.T @ b (+ bias, + `added`), and x @ a.T."""
    inside = None if lora is None else x @ lora.a.T
    result = part.times(x, None if lora is None or inside is None else inside @ lora.b)
    return (result if added is None else result.add_(added)), inside


def product_backward(
    part: Product, lora: Lora | None, d_out: Tensor, x: Tensor, inside: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    if lora is None or inside is None:
        return part.times_back(d_out, None), []
    d_inside = d_out @ lora.b.T
    return part.times_back(d_out, d_inside @ lora.a), part.gradients(d_out, inside, d_inside, x)


def _packed_product(x: Tensor, weight: Tensor, bias: Tensor | None, plus: Tensor | None) -> Tensor:
    multiply = torch.ops.mkldnn._linear_pointwise
    result: Tensor = (
        multiply(x, weight, bias, "none", [], "") if plus is None else multiply.binary(x, plus, weight, bias, "add")
    )
    return result


def plain_lora(module: Any) -> Iterator[Any]:
    """The matrices of a module's adapters. Raises Unsupported for AdaLoRA, DoRA and the like, and for dropout."""
    if getattr(module, "lora_E", None):
        raise Unsupported("AdaLoRA")
    for name, inner in getattr(module, "lora_A", {}).items():
        outer, dropout = module.lora_B[name], module.lora_dropout[name]
        if getattr(module, "lora_variant", {}).get(name) or outer.bias is not None:
            raise Unsupported("LoRA of another kind")
        if getattr(dropout, "p", 0.0) > 0:
            raise Unsupported("dropout on LoRA's inputs")
        yield from (inner.weight, outer.weight)
