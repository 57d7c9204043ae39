"""The compiled library's functions as the steps of a layer (steps.py), on torch's tensors."""

import ctypes
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from trainer.compute import steps
from trainer.compute.native import library
from trainer.compute.prefix_tree import PrefixTree


@dataclass(frozen=True)
class Places:
    tree: library.Tree
    cos: Tensor  # (T, width / 2), float32
    sin: Tensor
    slots: list[Tensor]
    """Where each row writes what it wants of its path's keys and values; one for all layers, made when first used."""
    arrays: list[Tensor]
    """What the tree points into."""

    def heads(self, heads: steps.Heads) -> library.Heads:
        return library.Heads(
            heads.queries, heads.keys, heads.width, heads.scale, self.cos.data_ptr(), self.sin.data_ptr()
        )


@dataclass(frozen=True)
class Attended:
    qkv: Tensor  # (T, queries + 2 · keys, width)
    context: Tensor  # (T, queries · width)
    log_sum: Tensor  # (T, queries)

    def of_first(self, tree: PrefixTree) -> "Attended":
        tokens = len(tree.tokens)
        return Attended(self.qkv[:tokens], self.context[:tokens], self.log_sum[:tokens])


class CompiledSteps:
    """Takes bfloat16 with widths in sixteens; what it is given needn't be contiguous."""

    def __init__(self, compiled: ctypes.CDLL) -> None:
        self._compiled = compiled

    def places(self, tree: PrefixTree, cos: Tensor, sin: Tensor) -> Places:
        seen, shared = 0, []
        for path in tree.paths:
            shared.append(sum(node < seen for node in path))  # tokens are numbered row by row
            seen = max(seen, path[-1] + 1)
        nodes = [node for path in tree.paths for node in path]
        starts = [0, *accumulate(map(len, tree.paths))]
        arrays = [torch.tensor(numbers, dtype=torch.int32) for numbers in (nodes, starts, shared, tree.positions)]
        pointers = [array.data_ptr() for array in arrays]
        return Places(library.Tree(len(tree.paths), len(tree.tokens), *pointers), cos.float(), sin.float(), [], arrays)

    def norm(self, x: Tensor, module: Any) -> tuple[Tensor, Tensor]:
        x = x.contiguous()
        normed, width = torch.empty_like(x), x.shape[-1]
        scale = torch.empty(*x.shape[:-1], 1)
        self._compiled.training_norm(
            x.data_ptr(), module.weight.data_ptr(), module.variance_epsilon, scale.numel(), width,
            normed.data_ptr(), scale.data_ptr(), torch.get_num_threads(),
        )  # fmt: skip
        return normed, scale

    def norm_backward(
        self, d_normed: Tensor, x: Tensor, scale: Tensor, module: Any, added: Tensor | None = None
    ) -> Tensor:
        d_normed, x, scale = d_normed.contiguous(), x.contiguous(), scale.contiguous()
        d_x = torch.empty_like(x)
        self._compiled.training_norm_backward(
            d_normed.data_ptr(), x.data_ptr(), scale.data_ptr(), module.weight.data_ptr(),
            None if added is None else added.data_ptr(), scale.numel(), x.shape[-1],
            d_x.data_ptr(), torch.get_num_threads(),
        )  # fmt: skip
        return d_x

    def attend(self, qkv: Tensor, heads: steps.Heads, places: Places) -> tuple[Tensor, Attended]:
        qkv = qkv.contiguous()
        context = qkv.new_empty(len(qkv), heads.queries * heads.width)
        log_sum = torch.empty(len(qkv), heads.queries)
        self._compiled.training_attend(
            places.tree, places.heads(heads), qkv.data_ptr(), context.data_ptr(), log_sum.data_ptr(),
            torch.get_num_threads(),
        )  # fmt: skip
        return context, Attended(qkv, context, log_sum)

    def attend_backward(self, kept: Attended, d_context: Tensor, heads: steps.Heads, places: Places) -> Tensor:
        d_context, d_qkv = d_context.contiguous(), torch.empty_like(kept.qkv)
        if not places.slots:
            values = len(places.arrays[0]) * heads.keys * 2 * heads.width
            places.slots.append(torch.empty(values))
        self._compiled.training_attend_backward(
            places.tree, places.heads(heads), kept.qkv.data_ptr(), kept.context.data_ptr(), kept.log_sum.data_ptr(),
            d_context.data_ptr(), places.slots[0].data_ptr(), d_qkv.data_ptr(), torch.get_num_threads(),
        )  # fmt: skip
        return d_qkv

    def gated(self, gate_up: Tensor) -> Tensor:
        tokens, width = len(gate_up), gate_up.shape[-1] // 2
        activated = gate_up.new_empty(tokens, width)
        self._compiled.training_gated(gate_up.data_ptr(), tokens, width, activated.data_ptr(), torch.get_num_threads())
        return activated

    def gated_backward(self, d_activated: Tensor, gate_up: Tensor) -> Tensor:
        d_gate_up = torch.empty_like(gate_up)
        tokens, width = d_activated.shape
        self._compiled.training_gated_backward(
            d_activated.data_ptr(), gate_up.data_ptr(), tokens, width, d_gate_up.data_ptr(), torch.get_num_threads()
        )
        return d_gate_up


def softmax_in_place(logits: Tensor, labels: Tensor, *, keep: bool) -> tuple[Tensor, Tensor] | None:
    """The log-probabilities of the labels of logits (N, V), and whether each is the likeliest; None if it can't.

    `keep`: the logits' place holds their softmax then.
    """
    fits = logits.dtype == torch.bfloat16 and logits.is_contiguous() and logits.shape[-1] % library.LANES == 0
    compiled = library.load() if fits and logits.device.type == "cpu" else None
    if compiled is None:
        return None
    log_probs, top = torch.empty(len(logits)), torch.empty(len(logits), dtype=torch.bool)
    compiled.training_label_log_probs(
        logits.data_ptr(), labels.contiguous().data_ptr(), *logits.shape, keep,
        log_probs.data_ptr(), top.data_ptr(), torch.get_num_threads(),
    )  # fmt: skip
    return log_probs, top


def compiled_steps(dtype: torch.dtype, heads: steps.Heads, widths: list[int]) -> CompiledSteps | None:
    """None where no build is there for this processor, or the model's dtype or shape isn't the build's."""
    fits = (
        dtype == torch.bfloat16
        and not any(width % library.LANES for width in (heads.width, *widths))
        and heads.width <= library.LARGEST_WIDTH
        and heads.queries // heads.keys <= library.LARGEST_GROUP
    )
    compiled = library.load() if fits else None
    return None if compiled is None else CompiledSteps(compiled)
