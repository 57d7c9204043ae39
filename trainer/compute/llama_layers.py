"""Llama's decoder layers with LoRA, forward and backward in few large operations, for training on a CPU.

PEFT casts every layer's input to float32 and back for seven adapters apiece, and autograd keeps and walks every small
operation of it; most of a step's time goes there. Here a whole pass is one autograd function: query, key and value are
one product, gate and up another, an adapter's A and B are two thin products more, all in the model's dtype, and what
the backward pass needs is kept once. Gradients are for the LoRA matrices alone: the base is frozen.

Tokens come flat, (T, H), without padding; only attention lays them out as rows (`Rows`).

Takes Llama, Mistral, Qwen2 and Qwen3 with plain LoRA (rsLoRA too) and no dropout; `Layers` raises Unsupported for the
rest.
Leaves out CUDA, and sliding windows that a row outgrows (the caller's business).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainer.compute.attention import attend, attend_backward
from trainer.compute.lora_product import Lora, Product, Unsupported, plain_lora, product, product_backward
from trainer.compute.prefix_tree import Rows

aten = torch.ops.aten
MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3")
MOST_KEPT_BYTES = 3 << 30
"""What the forward pass keeps for the backward pass; where it would be more, layers are computed again instead."""


class Layer:
    """One decoder layer's parts."""

    def __init__(self, layer: Any, config: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.norm_1, self.norm_2 = layer.input_layernorm, layer.post_attention_layernorm
        self.qkv = Product([attention.q_proj, attention.k_proj, attention.v_proj])
        self.out = Product([attention.o_proj])
        self.gate_up = Product([mlp.gate_proj, mlp.up_proj])
        self.down = Product([mlp.down_proj])
        self.products = (self.qkv, self.out, self.gate_up, self.down)
        self.head_norms: list[Any] = [getattr(attention, name, None) for name in ("q_norm", "k_norm")]
        self.queries, self.keys = config.num_attention_heads, config.num_key_value_heads
        self.width = attention.head_dim
        self.scale = attention.scaling


@dataclass
class Kept:
    """What a layer's forward pass keeps for its backward pass; T tokens, B rows of L, I the MLP's width."""

    hidden: Tensor  # (T, H), the layer's input
    scale_1: Tensor  # (T, 1), by which the norm multiplies
    normed_1: Tensor  # (T, H)
    inside_qkv: Tensor | None  # (T, R), x @ a.T
    raw: Tensor  # (T, heads, d), queries and keys before their norms and their turning; empty without norms
    raw_scale: Tensor  # (T, heads, 1)
    query: Tensor  # (B, heads, L, d)
    key: Tensor
    value: Tensor
    attended: Tensor
    log_sum: Tensor  # (B, heads, L)
    context: Tensor  # (T, heads * d)
    inside_out: Tensor | None
    middle: Tensor  # (T, H), after attention
    scale_2: Tensor
    normed_2: Tensor
    inside_gate_up: Tensor | None
    gate_up: Tensor  # (T, 2 * I)
    silu: Tensor  # (T, I)
    activated: Tensor  # (T, I)
    inside_down: Tensor | None


@dataclass(frozen=True)
class Places:
    """Where the tokens stand: in rows, and in their texts."""

    rows: Rows
    cos: Tensor  # (T, 1, d / 2), of rotary positions
    sin: Tensor


def forward_layer(
    layer: Layer, loras: list[Lora | None], hidden: Tensor, places: Places, keep: bool
) -> tuple[Tensor, Kept | None]:
    """The layer's output (T, H)."""
    normed_1, scale_1 = norm(hidden, layer.norm_1)
    qkv, inside_qkv = product(layer.qkv, loras[0], normed_1)
    heads = qkv.view(len(qkv), -1, layer.width)
    turning = layer.queries + layer.keys
    raw, raw_scale = heads[:, :0], scale_1[:0]
    turned = heads[:, :turning]
    if layer.head_norms[0] is not None:
        raw = turned
        turned, raw_scale = norm_heads(layer, raw)
    turned = turn(turned, places.cos, places.sin)
    query, key, value = in_rows(layer, turned, heads[:, turning:], places.rows)
    attended, log_sum = attend(query, key, value, layer.scale)
    context = attended.transpose(1, 2).flatten(0, 1)[places.rows.first].flatten(1)
    middle, inside_out = product(layer.out, loras[1], context, added=hidden)
    normed_2, scale_2 = norm(middle, layer.norm_2)
    gate_up, inside_gate_up = product(layer.gate_up, loras[2], normed_2)
    gate, up = gate_up.chunk(2, dim=-1)
    silu = torch.nn.functional.silu(gate)
    activated = silu * up
    result, inside_down = product(layer.down, loras[3], activated, added=middle)
    if not keep:
        return result, None
    return result, Kept(
        hidden, scale_1, normed_1, inside_qkv, raw, raw_scale, query, key, value, attended, log_sum, context,
        inside_out, middle, scale_2, normed_2, inside_gate_up, gate_up, silu, activated, inside_down,
    )  # fmt: skip


def backward_layer(
    layer: Layer, loras: list[Lora | None], kept: Kept, d_result: Tensor, places: Places
) -> tuple[Tensor, list[Tensor]]:
    """The slope by the layer's input (T, H), and those by its adapters' matrices."""
    d_activated, of_down = product_backward(layer.down, loras[3], d_result, kept.activated, kept.inside_down)
    gate, up = kept.gate_up.chunk(2, dim=-1)
    d_gate_up = torch.empty_like(kept.gate_up)
    d_gate, d_up = d_gate_up.chunk(2, dim=-1)
    torch.mul(d_activated, kept.silu, out=d_up)
    aten.silu_backward.grad_input(d_activated.mul_(up), gate, grad_input=d_gate)
    d_normed, of_gate_up = product_backward(layer.gate_up, loras[2], d_gate_up, kept.normed_2, kept.inside_gate_up)
    d_middle = norm_backward(d_normed, kept.middle, kept.scale_2, kept.normed_2, layer.norm_2).add_(d_result)
    d_context, of_out = product_backward(layer.out, loras[1], d_middle, kept.context, kept.inside_out)
    d_heads = attention_backward(layer, kept, d_context, places)
    d_normed, of_qkv = product_backward(layer.qkv, loras[0], d_heads.flatten(1), kept.normed_1, kept.inside_qkv)
    d_hidden = norm_backward(d_normed, kept.hidden, kept.scale_1, kept.normed_1, layer.norm_1).add_(d_middle)
    return d_hidden, [*of_qkv, *of_out, *of_gate_up, *of_down]


def norm(x: Tensor, module: Any) -> tuple[Tensor, Tensor]:
    """Root mean square norm over the last axis, and what it multiplied by."""
    scale = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    scale = scale.square_().div_(x.shape[-1]).add_(module.variance_epsilon).rsqrt_()
    return (x * scale).to(x.dtype).mul_(module.weight), scale


def norm_backward(d_normed: Tensor, x: Tensor, scale: Tensor, normed: Tensor, module: Any) -> Tensor:
    """d x = scale · d normed · weight - x · scale² · mean(d normed · normed)."""
    along = (d_normed * normed).sum(-1, keepdim=True, dtype=torch.float32).mul_(scale).mul_(scale).div_(x.shape[-1])
    return (d_normed * module.weight * scale).sub_(x * along).to(x.dtype)


def norm_heads(layer: Layer, raw: Tensor) -> tuple[Tensor, Tensor]:
    query, query_scale = norm(raw[:, : layer.queries], layer.head_norms[0])
    key, key_scale = norm(raw[:, layer.queries :], layer.head_norms[1])
    return torch.cat([query, key], dim=1), torch.cat([query_scale, key_scale], dim=1)


def norm_heads_backward(layer: Layer, kept: Kept, d_turned: Tensor) -> Tensor:
    parts = []
    for module, part in zip(layer.head_norms, (slice(0, layer.queries), slice(layer.queries, None)), strict=True):
        raw, scale = kept.raw[:, part], kept.raw_scale[:, part]
        normed = (raw * scale).to(raw.dtype).mul_(module.weight)
        parts.append(norm_backward(d_turned[:, part], raw, scale, normed, module))
    return torch.cat(parts, dim=1)


def turn(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions (arXiv:2104.09864), on (T, heads, d); with -sin they are taken back."""
    result = torch.empty(heads.shape, dtype=heads.dtype)
    left, right = heads.chunk(2, dim=-1)
    to_left, to_right = result.chunk(2, dim=-1)
    torch.mul(left, cos, out=to_left).addcmul_(right, sin, value=-1)
    torch.mul(right, cos, out=to_right).addcmul_(left, sin)
    return result


def in_rows(layer: Layer, turned: Tensor, values: Tensor, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value of padded rows, (B, heads, L, d): each key serves several queries."""
    placed = turned[rows.nodes]  # (B, L, heads, d)
    each = layer.queries // layer.keys
    key = placed[:, :, layer.queries :].repeat_interleave(each, dim=2)
    value = values[rows.nodes].repeat_interleave(each, dim=2)
    return placed[:, :, : layer.queries].transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)


def attention_backward(layer: Layer, kept: Kept, d_context: Tensor, places: Places) -> Tensor:
    """The slope by the tokens' queries, keys and values, (T, heads, d)."""
    batch, heads, length, width = kept.query.shape
    nodes, first = places.rows.nodes, places.rows.first
    d_attended = d_context.new_zeros(batch * length, heads * width)
    d_attended[first] = d_context
    d_query, d_key, d_value = attend_backward(
        d_attended.view(batch, length, heads, width).transpose(1, 2),
        kept.query, kept.key, kept.value, kept.attended, kept.log_sum, layer.scale,
    )  # fmt: skip
    result = d_context.new_empty(len(d_context), heads + 2 * layer.keys, width)
    turning = heads + layer.keys
    d_turned = d_context.new_empty(len(d_context), turning, width)
    d_turned[:, :heads] = d_query.transpose(1, 2).flatten(0, 1)[first]
    d_turned[:, heads:] = of_nodes(layer, d_key, nodes, len(d_context))
    result[:, turning:] = of_nodes(layer, d_value, nodes, len(d_context))
    d_turned = turn(d_turned, places.cos, -places.sin)
    result[:, :turning] = d_turned if layer.head_norms[0] is None else norm_heads_backward(layer, kept, d_turned)
    return result


def of_nodes(layer: Layer, by_row: Tensor, nodes: Tensor, count: int) -> Tensor:
    """(B, heads, L, d) → (T, keys, d), in float32: all rows see a shared node's key, and all queries of its group."""
    batch, _, length, width = by_row.shape
    grouped = by_row.transpose(1, 2).reshape(batch * length, layer.keys, -1, width)
    summed = grouped.sum(2, dtype=torch.float32).flatten(1)  # (B * L, keys * d)
    return torch.zeros(count, layer.keys * width).index_add_(0, nodes.flatten(), summed).view(count, layer.keys, width)


class Pass(torch.autograd.Function):  # type: ignore[misc, unused-ignore]
    """All layers and the last norm: (T, H) → (T, H)."""

    @staticmethod
    def forward(ctx: Any, layers: "Layers", hidden: Tensor, places: Places, *matrices: Tensor) -> Tensor:
        loras = [[part.lora() for part in layer.products] for layer in layers.layers]
        learns = any(ctx.needs_input_grad)
        whole = learns and layers.kept_bytes(places) <= MOST_KEPT_BYTES
        kept: list[Kept | None] = []
        inputs: list[Tensor] = []
        for layer, own in zip(layers.layers, loras, strict=True):
            if learns:
                inputs.append(hidden)
            hidden, of_layer = forward_layer(layer, own, hidden, places, whole)
            kept.append(of_layer)
        normed, scale = norm(hidden, layers.norm)
        if learns:
            ctx.state = (layers, loras, places, inputs, kept, hidden, normed, scale)
        return normed

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        layers, loras, places, inputs, kept, hidden, normed, scale = ctx.state
        del ctx.state
        slope = norm_backward(gradients[0], hidden, scale, normed, layers.norm)
        found: list[list[Tensor]] = []
        for layer, own in zip(reversed(layers.layers), reversed(loras), strict=True):
            of_layer, start = kept.pop(), inputs.pop()
            if of_layer is None:
                _, of_layer = forward_layer(layer, own, start, places, True)
            slope, of_matrices = backward_layer(layer, own, of_layer, slope, places)
            found.append(of_matrices)
        return None, None, None, *(one for layer in reversed(found) for one in layer)


class Layers:
    """A model's decoder, computed by this module."""

    def __init__(self, model: Any) -> None:
        """`model` is the causal language model inside any PEFT wrapper. Raises Unsupported."""
        config = model.config
        if config.model_type not in MODEL_TYPES or getattr(config, "hidden_act", "silu") != "silu":
            raise Unsupported(f"a {config.model_type} model")
        decoder = model.model
        self.window = _window(config)
        self.embedding, self.norm, self.rotary = decoder.embed_tokens, decoder.norm, decoder.rotary_emb
        self.layers = [Layer(layer, config) for layer in decoder.layers]
        parts = [module for layer in self.layers for part in layer.products for module in part.modules]
        known = {id(matrix) for module in parts for matrix in plain_lora(module)}
        if any(parameter.requires_grad and id(parameter) not in known for parameter in model.parameters()):
            raise Unsupported("something else than plain LoRA learns")

    def hidden(self, tokens: Tensor, positions: Tensor, rows: Rows) -> Tensor:
        """The last hidden states (T, H) of flat tokens (T,)."""
        hidden = self.embedding(tokens).detach()
        cos, sin = self.rotary(hidden, positions[None])  # (1, T, d), both halves alike
        half = cos.shape[-1] // 2
        places = Places(rows, cos[0, :, None, :half].contiguous(), sin[0, :, None, :half].contiguous())
        matrices = [matrix for layer in self.layers for part in layer.products for matrix in part.parameters()]
        return Pass.apply(self, hidden, places, *matrices)

    def kept_bytes(self, places: Places) -> int:
        """About what the forward pass keeps."""
        down, layer = self.layers[0].down.weight, self.layers[0]
        hidden, inner = down.shape
        tokens, placed = places.rows.first.numel(), places.rows.nodes.numel()
        values = tokens * (5 * hidden + 4 * inner) + placed * 4 * layer.queries * layer.width
        kept: int = len(self.layers) * down.element_size() * values
        return kept


def _window(config: Any) -> int:
    """Tokens that a row may have before the model's sliding window would hide some of them."""
    sliding = getattr(config, "layer_types", None)
    hides = "sliding_attention" in sliding if sliding else getattr(config, "sliding_window", None)
    window: int = config.sliding_window if hides else 1 << 62
    return window
