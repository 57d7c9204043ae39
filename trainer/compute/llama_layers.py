"""Llama's decoder layers with LoRA, forward and backward in few large operations, for training on a CPU.

PEFT casts every layer's input to float32 and back for seven adapters apiece, and autograd keeps and walks every small
operation of it; most of a step's time goes there. Here a whole pass is one autograd function: query, key and value are
one product, gate and up another, an adapter's A and B are two thin products more, all in the model's dtype, and what
the backward pass needs is kept once. Gradients are for the LoRA matrices alone: the base is frozen.

Tokens come flat, (T, H), without padding: a prefix tree's. What isn't a product stands in steps.py.

Takes Llama, Mistral, Qwen2 and Qwen3 with plain LoRA (rsLoRA too) and no dropout; `Layers` raises Unsupported for the
rest.
Leaves out CUDA, and sliding windows that a row outgrows (the caller's business).
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from trainer.compute.lora_product import Lora, Product, Unsupported, plain_lora, product, product_backward
from trainer.compute.native.steps import compiled_steps
from trainer.compute.prefix_tree import PrefixTree
from trainer.compute.steps import Heads, Steps, TorchSteps

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
        self.heads = Heads(
            config.num_attention_heads, config.num_key_value_heads, attention.head_dim, attention.scaling
        )


@dataclass
class Kept:
    """What a layer's forward pass keeps for its backward pass; T tokens, I the MLP's width."""

    hidden: Tensor  # (T, H), the layer's input
    scale_1: Tensor  # (T, 1), by which the norm multiplies
    normed_1: Tensor  # (T, H)
    inside_qkv: Tensor | None  # (T, R), x @ a.T
    raw: Tensor  # (T, heads, d), queries and keys before their norms; empty without norms
    raw_scales: list[Tensor]  # (T, heads, 1), of queries and keys
    attended: Any  # the steps' own
    context: Tensor  # (T, heads * d)
    inside_out: Tensor | None
    middle: Tensor  # (T, H), after attention
    scale_2: Tensor
    normed_2: Tensor
    inside_gate_up: Tensor | None
    gate_up: Tensor  # (T, 2 * I)
    activated: Tensor  # (T, I)
    inside_down: Tensor | None

    def of_first(self, tree: PrefixTree) -> "Kept":
        """Of the tree's tokens alone, the first ones."""
        tokens = len(tree.tokens)
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        cut = {name: value[:tokens] for name, value in values.items() if isinstance(value, Tensor)}
        cut["raw_scales"] = [scales[:tokens] for scales in self.raw_scales]
        cut["attended"] = self.attended.of_first(tree)
        return replace(self, **cut)


def forward_layer(
    layer: Layer, loras: list[Lora | None], hidden: Tensor, steps: Steps, places: Any, keep: bool
) -> tuple[Tensor, Kept | None]:
    """The layer's output (T, H)."""
    normed_1, scale_1 = steps.norm(hidden, layer.norm_1)
    qkv, inside_qkv = product(layer.qkv, loras[0], normed_1)
    heads = qkv.view(len(qkv), -1, layer.heads.width)
    raw, raw_scales = heads[:, :0], [scale_1[:0]]
    if layer.head_norms[0] is not None:
        raw = heads[:, : layer.heads.queries + layer.heads.keys]
        heads, raw_scales = norm_heads(layer, heads, steps)
    context, attended = steps.attend(heads, layer.heads, places)
    middle, inside_out = product(layer.out, loras[1], context, added=hidden)
    normed_2, scale_2 = steps.norm(middle, layer.norm_2)
    gate_up, inside_gate_up = product(layer.gate_up, loras[2], normed_2)
    activated = steps.gated(gate_up)
    result, inside_down = product(layer.down, loras[3], activated, added=middle)
    if not keep:
        return result, None
    return result, Kept(
        hidden, scale_1, normed_1, inside_qkv, raw, raw_scales, attended, context, inside_out,
        middle, scale_2, normed_2, inside_gate_up, gate_up, activated, inside_down,
    )  # fmt: skip


def backward_layer(
    layer: Layer, loras: list[Lora | None], kept: Kept, d_result: Tensor, steps: Steps, places: Any
) -> tuple[Tensor, list[Tensor]]:
    """The slope by the layer's input (T, H), and those by its adapters' matrices."""
    d_activated, of_down = product_backward(layer.down, loras[3], d_result, kept.activated, kept.inside_down)
    d_gate_up = steps.gated_backward(d_activated, kept.gate_up)
    d_normed, of_gate_up = product_backward(layer.gate_up, loras[2], d_gate_up, kept.normed_2, kept.inside_gate_up)
    d_middle = steps.norm_backward(d_normed, kept.middle, kept.scale_2, layer.norm_2, added=d_result)
    d_context, of_out = product_backward(layer.out, loras[1], d_middle, kept.context, kept.inside_out)
    d_heads = steps.attend_backward(kept.attended, d_context, layer.heads, places)
    if layer.head_norms[0] is not None:
        d_heads = norm_heads_backward(layer, kept, d_heads, steps)
    d_normed, of_qkv = product_backward(layer.qkv, loras[0], d_heads.flatten(1), kept.normed_1, kept.inside_qkv)
    d_hidden = steps.norm_backward(d_normed, kept.hidden, kept.scale_1, layer.norm_1, added=d_middle)
    return d_hidden, [*of_qkv, *of_out, *of_gate_up, *of_down]


def norm_heads(layer: Layer, heads: Tensor, steps: Steps) -> tuple[Tensor, list[Tensor]]:
    """Qwen3's norms of queries and keys."""
    query, key, value = heads.split([layer.heads.queries, layer.heads.keys, layer.heads.keys], dim=1)
    (query, of_query), (key, of_key) = steps.norm(query, layer.head_norms[0]), steps.norm(key, layer.head_norms[1])
    return torch.cat([query, key, value], dim=1), [of_query, of_key]


def norm_heads_backward(layer: Layer, kept: Kept, d_heads: Tensor, steps: Steps) -> Tensor:
    start = 0
    for module, scale in zip(layer.head_norms, kept.raw_scales, strict=True):
        part = slice(start, start := start + scale.shape[1])
        d_heads[:, part] = steps.norm_backward(d_heads[:, part], kept.raw[:, part], scale, module)
    return d_heads


class Pass(torch.autograd.Function):  # type: ignore[misc, unused-ignore]
    """All layers and the last norm: (T, H) → (T, H). Only the first `learning` rows' gradients are gone after."""

    @staticmethod
    def forward(
        ctx: Any, layers: "Layers", hidden: Tensor, tree: PrefixTree, learning: int, *matrices: Tensor
    ) -> Tensor:
        loras = [[part.lora() for part in layer.products] for layer in layers.layers]
        learns = any(ctx.needs_input_grad)
        whole = learns and layers.kept_bytes(len(hidden)) <= MOST_KEPT_BYTES
        kept: list[Kept | None] = []
        inputs: list[Tensor] = []
        places = layers.places(tree)
        for layer, own in zip(layers.layers, loras, strict=True):
            if learns:
                inputs.append(hidden)
            hidden, of_layer = forward_layer(layer, own, hidden, layers.steps, places, whole)
            kept.append(of_layer)
        normed, scale = layers.steps.norm(hidden, layers.norm)
        if learns:
            ctx.state = (layers, loras, tree.of_first(learning), inputs, kept, hidden, scale)
        return normed

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        layers, loras, tree, inputs, kept, hidden, scale = ctx.state
        del ctx.state
        steps, places, first = layers.steps, layers.places(tree), slice(0, len(tree.tokens))
        slope = steps.norm_backward(gradients[0][first], hidden[first], scale[first], layers.norm)
        found: list[list[Tensor]] = []
        for layer, own in zip(reversed(layers.layers), reversed(loras), strict=True):
            of_layer, start = kept.pop(), inputs.pop()
            if of_layer is None:
                _, of_layer = forward_layer(layer, own, start[first], steps, places, True)
            slope, of_matrices = backward_layer(layer, own, of_layer.of_first(tree), slope, steps, places)
            found.append(of_matrices)
        return None, None, None, None, *(one for layer in reversed(found) for one in layer)


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
        heads, widths = self.layers[0].heads, list(self.layers[0].down.weight.shape)
        self.steps: Steps = compiled_steps(model.dtype, heads, widths) or TorchSteps()
        parts = [module for layer in self.layers for part in layer.products for module in part.modules]
        known = {id(matrix) for module in parts for matrix in plain_lora(module)}
        if any(parameter.requires_grad and id(parameter) not in known for parameter in model.parameters()):
            raise Unsupported("something else than plain LoRA learns")

    def hidden(self, tree: PrefixTree, learning: int) -> Tensor:
        """The last hidden states (T, H) of a tree's tokens; gradients flow from the first `learning` rows alone."""
        hidden = self.embedding(torch.tensor(tree.tokens)).detach()
        matrices = [matrix for layer in self.layers for part in layer.products for matrix in part.parameters()]
        return Pass.apply(self, hidden, tree, learning, *matrices)

    def places(self, tree: PrefixTree) -> Any:
        cos, sin = self.rotary(self.embedding.weight, torch.tensor([tree.positions]))  # (1, T, d), both halves alike
        half = cos.shape[-1] // 2
        return self.steps.places(tree, cos[0, :, :half].contiguous(), sin[0, :, :half].contiguous())

    def kept_bytes(self, tokens: int) -> int:
        """About what the forward pass keeps."""
        down, heads = self.layers[0].down.weight, self.layers[0].heads
        hidden, inner = down.shape
        values = 4 * hidden + 3 * inner + 2 * (heads.queries + heads.keys) * heads.width
        kept: int = len(self.layers) * down.element_size() * tokens * values
        return kept


def _window(config: Any) -> int:
    """Tokens that a row may have before the model's sliding window would hide some of them."""
    sliding = getattr(config, "layer_types", None)
    hides = "sliding_attention" in sliding if sliding else getattr(config, "sliding_window", None)
    window: int = config.sliding_window if hides else 1 << 62
    return window
