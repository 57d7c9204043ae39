"""transformers' weights and PEFT's adapters in the layout that the compiled decoder reads.

Promises: no number changes but by the rounding that the kind says. A packed tensor must live as long as a struct
points to it. Leaves out running them.
"""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from service.engines.local.decoder import Halves
from service.engines.local.native.library import EXACT16, EXACT32, FAST, Layer, Linear, Model, Site

LANES = 16
PANEL = 2 * LANES
FITTING_MODELS = frozenset({"llama", "mistral", "qwen2", "qwen3"})
PRODUCTS = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("self_attn.o_proj",),
    ("mlp.gate_proj", "mlp.up_proj"),
    ("mlp.down_proj",),
)
"""The matrix products of a layer, in order; several modules of one input are one product."""


def unfit(model: torch.nn.Module) -> str | None:
    """Why the compiled decoder can't run this model; None if it can. What it doesn't know for certain doesn't fit."""
    config = model.config.get_text_config()
    rope = getattr(getattr(model, "model", None), "rotary_emb", None)
    if config.model_type not in FITTING_MODELS or rope is None:
        return f"models of type {config.model_type} run on transformers"
    if getattr(config, "quantization_config", None) is not None:
        return "quantized models run on transformers"
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if config.hidden_act != "silu":
        return f"the activation {config.hidden_act} runs on transformers"
    if config.hidden_size % PANEL or config.intermediate_size % LANES or head_size % LANES:
        return "its widths aren't multiples of the vectors'"
    if getattr(rope, "rope_type", "default") not in {"default", "linear", "llama3", "yarn"}:
        return f"rotary positions of type {rope.rope_type} run on transformers"
    if len(getattr(rope, "inv_freq", ())) != head_size // 2:
        return "rotary positions of a part of each head run on transformers"
    expected = {
        f"layers.{layer}.{name}" for layer in range(config.num_hidden_layers) for row in PRODUCTS for name in row
    }
    linear = {name: module for name, module in model.model.named_modules() if isinstance(module, torch.nn.Linear)}
    head = model.get_output_embeddings()
    plain = all(type(module) is torch.nn.Linear for module in (*linear.values(), head))  # subclasses compute otherwise
    return None if plain and linear.keys() == expected else "its layers have other linear modules"


def choose_kind(model: torch.nn.Module, dtype: torch.dtype, *, has_fast: bool) -> int | None:
    """How to compute: in bfloat16 if asked for and there are instructions for it, else exactly."""
    if dtype == torch.float16:
        return None
    if dtype == torch.bfloat16 and has_fast:
        return FAST
    halves = all(torch.equal(weight, weight.bfloat16().to(weight.dtype)) for weight in model.parameters())
    return EXACT16 if halves else EXACT32


class PackedModel:
    """The model as `decoder.cpp` reads it, with the tensors that its pointers lead to."""

    def __init__(self, model: torch.nn.Module, kind: int, positions: int) -> None:
        config = model.config.get_text_config()
        self.kind, self.positions = kind, positions
        self.hidden, self.heads, self.key_heads = (
            config.hidden_size,
            config.num_attention_heads,
            config.num_key_value_heads,
        )
        self.head_size = getattr(config, "head_dim", None) or self.hidden // self.heads
        self.intermediate, self.layers, self.vocabulary = (
            config.intermediate_size,
            config.num_hidden_layers,
            config.vocab_size,
        )
        self.cache_dtype = torch.bfloat16 if kind == FAST else torch.float32
        self._weight_dtype = torch.float32 if kind == EXACT32 else torch.bfloat16
        self._kept: list[torch.Tensor] = []
        body = model.model
        weight = next(model.parameters())
        cosine, sine = body.rotary_emb(weight.new_zeros(1, dtype=torch.float32), torch.arange(positions)[None])
        half = self.head_size // 2
        layers = (Layer * self.layers)(*(self._layer(layer) for layer in body.layers))
        self.struct = Model(
            kind=kind,
            layers=self.layers,
            hidden=self.hidden,
            heads=self.heads,
            key_heads=self.key_heads,
            head_size=self.head_size,
            intermediate=self.intermediate,
            vocabulary=self.vocabulary,
            epsilon=config.rms_norm_eps,
            scale=body.layers[0].self_attn.scaling,
            layer=layers,
            head=self._linear([model.get_output_embeddings()]),
            final_norm=self._floats(body.norm.weight),
            embeddings=self._keep(body.embed_tokens.weight.detach().to(self._weight_dtype).contiguous()),
            cosine=self._floats(cosine[0, :, :half]),
            sine=self._floats(sine[0, :, :half]),
        )

    @property
    def logits_width(self) -> int:
        return int(self.struct.head.outputs)

    def spans(self, product: int) -> list[int]:
        """How many outputs each module of a product has."""
        key_width = self.key_heads * self.head_size
        widths = [
            [self.heads * self.head_size, key_width, key_width],
            [self.hidden],
            [self.intermediate] * 2,
            [self.hidden],
        ]
        return widths[product]

    def _layer(self, layer: torch.nn.Module) -> Layer:
        attention = layer.self_attn
        qkv, out, gate_up, down = ([layer.get_submodule(name) for name in names] for names in PRODUCTS)
        return Layer(
            input_norm=self._floats(layer.input_layernorm.weight),
            output_norm=self._floats(layer.post_attention_layernorm.weight),
            query_norm=self._floats(attention.q_norm.weight) if hasattr(attention, "q_norm") else None,
            key_norm=self._floats(attention.k_norm.weight) if hasattr(attention, "k_norm") else None,
            qkv=self._linear(qkv),
            out=self._linear(out),
            gate_up=self._linear(gate_up, alternate=True),
            down=self._linear(down),
        )

    def _linear(self, modules: Sequence[torch.nn.Module], *, alternate: bool = False) -> Linear:
        """Several modules of one input as one product; `alternate`: sixteen outputs of each in turn."""
        weight = torch.cat([module.weight.detach() for module in modules]).to(self._weight_dtype)  # (N, K)
        bias = None
        if any(module.bias is not None for module in modules):
            parts = [
                module.weight.new_zeros(len(module.weight)) if module.bias is None else module.bias
                for module in modules
            ]
            bias = torch.cat([part.detach().float() for part in parts])  # (N,)
        if alternate:
            weight, bias = alternated(weight), None if bias is None else alternated(bias)
        if bias is not None:
            bias = functional.pad(bias, (0, -len(bias) % PANEL))
        packed = pack(weight, self._weight_dtype, PANEL)
        outputs = len(weight) + -len(weight) % PANEL
        return Linear(self._keep(packed), None if bias is None else self._floats(bias), weight.shape[1], outputs)

    def _floats(self, tensor: torch.Tensor) -> int:
        return self._keep(tensor.detach().float().contiguous())

    def _keep(self, tensor: torch.Tensor) -> int:
        self._kept.append(tensor)
        return int(tensor.data_ptr())


@dataclass
class PackedAdapter:
    """An adapter's halves, a struct a product; `kept` are the tensors that its pointers lead to."""

    sites: "ctypes.Array[Site]"
    kept: list[torch.Tensor]


def pack_adapter(model: PackedModel, modules: Mapping[str, Halves]) -> PackedAdapter:
    """`modules` by name, such as `model.layers.0.mlp.up_proj`; those missing are left as they are."""
    kept: list[torch.Tensor] = []
    sites = (Site * (len(PRODUCTS) * model.layers))()
    for layer in range(model.layers):
        for product, names in enumerate(PRODUCTS):
            halves = [modules.get(f"model.layers.{layer}.{name}") for name in names]
            if any(half is not None for half in halves):
                sites[len(PRODUCTS) * layer + product] = _site(model, product, halves, kept)
    return PackedAdapter(sites, kept)


def _site(model: PackedModel, product: int, halves: Sequence[Halves | None], kept: list[torch.Tensor]) -> Site:
    """The modules' halves as one product's: A below A, B beside B, each in its own ranks and outputs."""
    dtype = torch.bfloat16 if model.kind == FAST else torch.float32
    spans = model.spans(product)
    a = torch.cat([half[0] for half in halves if half is not None])  # (R, K)
    ranks = len(a) + -len(a) % LANES
    b = a.new_zeros(sum(spans), ranks)  # (N, R)
    used: list[tuple[int, int, int, int]] = []  # outputs from, to; ranks from, to
    output = rank = 0
    for half, span in zip(halves, spans, strict=True):
        if half is not None:
            r = half[1].shape[1]
            b[output : output + span, rank : rank + r] = half[1]
            used.append((output, output + span, rank, rank + r))
            rank += r
        output += span
    if product == 2:
        b, used = alternated(b), [(0, sum(spans), 0, rank)]
    tensors = [pack(a, dtype, LANES), pack(b, dtype, PANEL), _ranges(used, sum(spans))]
    kept += tensors
    return Site(*(tensor.data_ptr() for tensor in tensors), ranks)


def _ranges(used: Sequence[tuple[int, int, int, int]], outputs: int) -> torch.Tensor:
    """For each panel the pairs of ranks, from and to, of the modules whose outputs it holds."""
    ranges = []
    for first in range(0, outputs, PANEL):
        mine = [(low, high) for start, end, low, high in used if start < first + PANEL and end > first]
        ranges += [min(low for low, _ in mine) // 2, (max(high for _, high in mine) + 1) // 2] if mine else [0, 0]
    return torch.tensor(ranges, dtype=torch.int32)


def alternated(rows: torch.Tensor) -> torch.Tensor:
    """Two halves of rows (2·I, …) as sixteen of the first, sixteen of the second, and so on."""
    return rows.unflatten(0, (2, -1, LANES)).transpose(0, 1).flatten(0, 2)


def pack(weight: torch.Tensor, dtype: torch.dtype, multiple: int) -> torch.Tensor:
    """Weights (N, K) as `products.h` wants them, outputs filled up with zeros to a multiple."""
    filled = functional.pad(weight.to(dtype), (0, weight.shape[1] % 2, 0, -len(weight) % multiple))
    blocks = filled.view(len(filled) // LANES, LANES, filled.shape[1] // 2, 2)  # (N/16, 16, K/2, 2)
    return (
        blocks.permute(0, 2, 1, 3).contiguous() if dtype == torch.bfloat16 else blocks.permute(0, 2, 3, 1).contiguous()
    )
