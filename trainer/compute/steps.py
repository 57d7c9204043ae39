"""What a decoder layer does between its products: norms, attention, the gate; in two ways that say the same.

`TorchSteps` takes any dtype, in torch's operations. `native.steps.CompiledSteps` does each in one pass over memory,
where a build for this processor is there.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from trainer.compute.attention import attend, attend_backward
from trainer.compute.prefix_tree import PrefixTree, Rows

aten = torch.ops.aten


@dataclass(frozen=True)
class Heads:
    """An attention's shape: the columns of (T, queries + 2 · keys, width) are queries, then keys, then values."""

    queries: int
    keys: int
    width: int
    scale: float


class Steps(Protocol):
    """T tokens of a prefix tree, flat. What `attend` answers beside the context is for `attend_backward` alone."""

    def places(self, tree: PrefixTree, cos: Tensor, sin: Tensor) -> Any:
        """Where the tokens stand, as `attend` wants it; cos and sin (T, width / 2) of rotary positions."""

    def norm(self, x: Tensor, module: Any) -> tuple[Tensor, Tensor]:
        """Root mean square norm over the last axis, and what each (…, 1) was multiplied by."""

    def norm_backward(
        self, d_normed: Tensor, x: Tensor, scale: Tensor, module: Any, added: Tensor | None = None
    ) -> Tensor:
        """d x = scale · d normed · weight - x · scale³ · mean(d normed · weight · x), and `added`."""

    def attend(self, qkv: Tensor, heads: Heads, places: Any) -> tuple[Tensor, Any]:
        """(T, queries + 2 · keys, width), turned to their positions → (T, queries · width), causal along the paths."""

    def attend_backward(self, kept: Any, d_context: Tensor, heads: Heads, places: Any) -> Tensor:
        """The slope by qkv."""

    def gated(self, gate_up: Tensor) -> Tensor:
        """(T, 2 · I), gates first → silu(gate) · up."""

    def gated_backward(self, d_activated: Tensor, gate_up: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class TorchPlaces:
    rows: Rows
    cos: Tensor  # (T, 1, width / 2)
    sin: Tensor


@dataclass(frozen=True)
class Attended:
    """Padded rows, B of L."""

    query: Tensor  # (B, queries, L, width)
    key: Tensor
    value: Tensor
    attended: Tensor
    log_sum: Tensor  # (B, queries, L)

    def of_first(self, tree: PrefixTree) -> "Attended":
        parts = (self.query, self.key, self.value, self.attended, self.log_sum)
        rows, length = len(tree.paths), max(map(len, tree.paths))
        return Attended(*(part[:rows, :, :length] for part in parts))


class TorchSteps:
    def places(self, tree: PrefixTree, cos: Tensor, sin: Tensor) -> TorchPlaces:
        return TorchPlaces(Rows.of(tree), cos[:, None], sin[:, None])

    def norm(self, x: Tensor, module: Any) -> tuple[Tensor, Tensor]:
        scale = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        scale = scale.square_().div_(x.shape[-1]).add_(module.variance_epsilon).rsqrt_()
        return (x * scale).to(x.dtype).mul_(module.weight), scale

    def norm_backward(
        self, d_normed: Tensor, x: Tensor, scale: Tensor, module: Any, added: Tensor | None = None
    ) -> Tensor:
        weighted = d_normed * module.weight
        along = (weighted * x).sum(-1, keepdim=True, dtype=torch.float32).mul_(scale**3).div_(x.shape[-1])
        slope = (weighted * scale).sub_(x * along).to(x.dtype)
        return slope if added is None else slope.add_(added)

    def attend(self, qkv: Tensor, heads: Heads, places: TorchPlaces) -> tuple[Tensor, Attended]:
        turning = heads.queries + heads.keys
        nodes = places.rows.nodes
        turned = turn(qkv[:, :turning], places.cos, places.sin)[nodes]  # (B, L, heads, width)
        each = heads.queries // heads.keys  # a key serves several queries
        query = turned[:, :, : heads.queries].transpose(1, 2)
        key = turned[:, :, heads.queries :].repeat_interleave(each, dim=2).transpose(1, 2)
        value = qkv[:, turning:][nodes].repeat_interleave(each, dim=2).transpose(1, 2)
        attended, log_sum = attend(query, key, value, heads.scale)
        context = attended.transpose(1, 2).flatten(0, 1)[places.rows.first].flatten(1)
        return context, Attended(query, key, value, attended, log_sum)

    def attend_backward(self, kept: Attended, d_context: Tensor, heads: Heads, places: TorchPlaces) -> Tensor:
        batch, queries, length, width = kept.query.shape
        nodes, first, tokens = places.rows.nodes, places.rows.first, len(d_context)
        d_attended = d_context.new_zeros(batch * length, queries * width)
        d_attended[first] = d_context
        d_query, d_key, d_value = attend_backward(
            d_attended.view(batch, length, queries, width).transpose(1, 2),
            kept.query, kept.key, kept.value, kept.attended, kept.log_sum, heads.scale,
        )  # fmt: skip
        turning = queries + heads.keys
        d_turned = d_context.new_empty(tokens, turning, width)
        d_turned[:, :queries] = d_query.transpose(1, 2).flatten(0, 1)[first]
        d_turned[:, queries:] = of_nodes(d_key, nodes, tokens, heads.keys)
        result = d_context.new_empty(tokens, turning + heads.keys, width)
        result[:, :turning] = turn(d_turned, places.cos, -places.sin)
        result[:, turning:] = of_nodes(d_value, nodes, tokens, heads.keys)
        return result

    def gated(self, gate_up: Tensor) -> Tensor:
        gate, up = gate_up.chunk(2, dim=-1)
        return functional.silu(gate).mul_(up)

    def gated_backward(self, d_activated: Tensor, gate_up: Tensor) -> Tensor:
        gate, up = gate_up.chunk(2, dim=-1)
        d_gate_up = torch.empty_like(gate_up)
        d_gate, d_up = d_gate_up.chunk(2, dim=-1)
        torch.mul(d_activated, functional.silu(gate), out=d_up)
        aten.silu_backward.grad_input(d_activated * up, gate, grad_input=d_gate)
        return d_gate_up


def turn(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions (arXiv:2104.09864), on (T, heads, width); with -sin they are taken back."""
    result = torch.empty(heads.shape, dtype=heads.dtype)
    left, right = heads.chunk(2, dim=-1)
    to_left, to_right = result.chunk(2, dim=-1)
    torch.mul(left, cos, out=to_left).addcmul_(right, sin, value=-1)
    torch.mul(right, cos, out=to_right).addcmul_(left, sin)
    return result


def of_nodes(by_row: Tensor, nodes: Tensor, tokens: int, keys: int) -> Tensor:
    """(B, queries, L, width) → (T, keys, width), in float32: of a token's key in all rows, for all its queries."""
    batch, _, length, width = by_row.shape
    grouped = by_row.transpose(1, 2).reshape(batch * length, keys, -1, width)
    summed = grouped.sum(2, dtype=torch.float32).flatten(1)  # (B * L, keys * width)
    return torch.zeros(tokens, keys * width).index_add_(0, nodes.flatten(), summed).view(tokens, keys, width)
