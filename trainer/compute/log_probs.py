"""TRL's seam for log-probabilities, made fast on a CPU: `model(..., labels=…, fused_lm_head=True)`.

SFT, DPO and KTO all ask a model for the log-probabilities of the tokens whose label isn't -100. TRL answers on
a CPU by running every padded row in full and projecting every position, prompts included, onto the vocabulary.
`install` answers with the same numbers from less work:

- a batch is one prefix tree (prefix_tree.py): what its rows share is computed once, padding never;
- the layers of a Llama, Mistral or Qwen model with plain LoRA are computed by llama_layers.py;
- only positions that predict a labelled token meet the vocabulary, in the model's dtype, and their gradient is
  formed in the same pass.

Some of the first batch is computed in transformers' way, too; where the numbers disagree, the next slower way is
taken.
Leaves out CUDA, where TRL's own kernel already skips unlabelled positions.
"""

import logging
import types
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from trainer.compute.llama_layers import Layers
from trainer.compute.lora_product import Unsupported
from trainer.compute.memory import keep_freed_memory
from trainer.compute.native.steps import softmax_in_place
from trainer.compute.peft_layers import add_before_rounding
from trainer.compute.prefix_tree import ancestors_mask, prefix_tree
from trainer.failures import is_out_of_memory

log = logging.getLogger("trainer")

MOST_SHARED_TOKENS = 1536
"""Of transformers' model over a tree: attention there costs tokens², and past this padded rows are cheaper."""
TOKENS_A_BLOCK = 32
"""A pass has a multiple of these: oneDNN makes a program for each size of product, takes a millisecond for each, and
keeps a thousand."""
LARGEST_DISAGREEMENT = 0.15
"""Mean absolute difference in nats between two ways that bf16 rounding explains."""
CHECKED_ROWS, CHECKED_TOKENS = 2, 48
"""Of the first batch, that all ways are tried on: enough to tell a model that isn't what it seems."""
SCALED_HEADS = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier", "output_multiplier")
"""Settings of heads with arithmetic of their own."""

INSTALLED = "burnish_compute"

TokenRows = Sequence[Sequence[int]]
Way = Callable[[TokenRows, int], Tensor]
"""Rows, and for how many of them, from the first on, gradients are wanted."""


class LabelLogProbs(torch.autograd.Function):  # type: ignore[misc, unused-ignore]
    """log softmax(hidden @ weight.T)[label], for a frozen `weight`.

    d log p[label] / d hidden = weight[label] - softmax @ weight: known in the forward pass up to each token's
    upstream factor, so the (N, V) probabilities live only as long as their chunk.
    """

    CHUNK = 256

    @staticmethod
    def forward(ctx: Any, hidden: Any, weight: Any, bias: Any, labels: Any) -> Any:
        log_probs, tops, slopes = [], [], []
        for start in range(0, len(labels), LabelLogProbs.CHUNK):
            piece = slice(start, start + LabelLogProbs.CHUNK)
            logits = functional.linear(hidden[piece], weight, bias)  # (n, V)
            learns = ctx.needs_input_grad[0]
            found = softmax_in_place(logits, labels[piece], keep=learns)
            if found is None:
                label = labels[piece, None]
                top = logits.gather(-1, label)[:, 0] >= logits.amax(-1)  # argmax takes longer than the product
                logits = logits.log_softmax(-1, dtype=torch.float32)
                found = logits.gather(-1, label)[:, 0], top
                logits = logits.exp_().to(weight.dtype) if learns else logits
            log_probs.append(found[0])
            tops.append(found[1])
            if learns:
                slopes.append(weight[labels[piece]] - logits @ weight)  # (n, H)
        ctx.save_for_backward(torch.cat(slopes) if slopes else hidden[:0])
        empty = hidden.new_zeros(0, dtype=torch.float32)
        top = torch.cat(tops) if tops else empty.bool()
        ctx.mark_non_differentiable(top)
        return (torch.cat(log_probs) if log_probs else empty), top

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (slopes,) = ctx.saved_tensors
        return gradients[0][:, None].to(slopes.dtype) * slopes, None, None, None


class Compute:
    """Last hidden states of rows of tokens by a causal language model (inside any PEFT wrapper)."""

    def __init__(self, model: Any) -> None:
        self.model = base_of(model)
        add_before_rounding(self.model)
        self._ways: list[tuple[str, Way]] = []
        if self.model.device.type == "cpu":
            try:
                self._layers = Layers(self.model)
                self._ways.append(("layers of its own", self._by_layers))
            except Unsupported as reason:
                log.info("Training computes with transformers' layers, which is slower: %s.", reason)
            self._ways.append(("a prefix tree", self._by_tree))
        self._ways.append(("padded rows", self._by_rows))
        self._checked = len(self._ways) == 1
        self._expected: tuple[list[list[int]], ...] = ()
        self._gradients = False
        self._known: list[tuple[list[list[int]], Tensor]] = []

    @property
    def plain_head(self) -> bool:
        """Whether hidden states times the head's weights (and its bias) are the logits."""
        return not any(getattr(self.model.config.get_text_config(), name, None) for name in SCALED_HEADS)

    def expect(self, *batches: list[list[int]], gradients: bool) -> None:
        """Batches that are asked for next, one after the other: the first of them brings all, in one pass.

        What they share is computed once then. `gradients`: whether the first batch's are wanted.
        """
        self._expected, self._gradients, self._known = batches, gradients, []

    def hidden(self, rows: TokenRows) -> Tensor:
        """(N, H) for the N tokens of all rows, one row after the other."""
        if rows in self._expected:
            counts = [sum(map(len, batch)) for batch in self._expected]
            with torch.set_grad_enabled(self._gradients):
                every = [row for batch in self._expected for row in batch]
                found = self._computed(every, len(self._expected[0])).split(counts)
            self._known = list(zip(self._expected, found, strict=True))
            self._expected = ()
        for place, (known, hidden) in enumerate(self._known):
            if known == rows:
                del self._known[place]
                return hidden
        return self._computed(rows, len(rows))

    def _computed(self, rows: TokenRows, learning: int) -> Tensor:
        if not self._checked:
            was_training = self.model.training
            self.model.eval()  # dropout would make them differ, and draw random numbers that a resumed run mustn't
            with torch.no_grad():
                self._choose([row[:CHECKED_TOKENS] for row in rows[:CHECKED_ROWS]])
            self.model.train(was_training)
            self._checked = True
        return self._ways[0][1](rows, learning)

    def _choose(self, rows: TokenRows) -> None:
        """Leave out the ways that don't say what padded rows say."""
        head = self.model.get_output_embeddings()
        labels = torch.tensor([token for row in rows for token in row])

        def log_probs(way: Way) -> Tensor:
            found: Tensor = LabelLogProbs.apply(way(rows, len(rows)), head.weight, head.bias, labels)[0]
            return found

        right = log_probs(self._by_rows)
        while len(self._ways) > 1:
            name, way = self._ways[0]
            try:
                difference = float((log_probs(way) - right).abs().mean())
            except (TypeError, ValueError, RuntimeError) as error:
                if is_out_of_memory(error):
                    raise
                log.info("Training can't compute with %s: %s.", name, error)
            else:
                if difference <= LARGEST_DISAGREEMENT:
                    return
                log.info("Training doesn't compute with %s: off by %.3f nats a token.", name, difference)
            del self._ways[0]

    def _by_layers(self, rows: TokenRows, learning: int) -> Tensor:
        if max(map(len, rows)) > self._layers.window:
            return self._by_rows(rows, learning)
        tree = prefix_tree(rows[:learning]).filled(TOKENS_A_BLOCK)
        learn = len(tree.paths)
        tree = tree.with_rows(rows[learning:])
        paths = tree.paths[:learning] + tree.paths[learn:]
        hidden = self._layers.hidden(tree.filled(TOKENS_A_BLOCK), learn)
        return hidden[torch.tensor([node for path in paths for node in path])]

    def _by_tree(self, rows: TokenRows, learning: int) -> Tensor:
        tree = prefix_tree(rows)
        if len(tree.tokens) > MOST_SHARED_TOKENS:
            return self._by_rows(rows, learning)
        sees = ancestors_mask(tree.parents)
        bias = torch.zeros(sees.shape, dtype=self.model.dtype).masked_fill_(~sees, torch.finfo(self.model.dtype).min)
        output = self.model.base_model(
            input_ids=torch.tensor([tree.tokens]),  # (1, T)
            position_ids=torch.tensor([tree.positions]),
            attention_mask=bias[None, None],  # (1, 1, T, T)
            use_cache=False,
        )
        return output.last_hidden_state[0, torch.tensor([node for path in tree.paths for node in path])]

    def _by_rows(self, rows: TokenRows, learning: int) -> Tensor:
        width, device = max(map(len, rows)), self.model.device
        input_ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)  # (B, L)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
        output = self.model.base_model(input_ids=input_ids, attention_mask=mask, use_cache=False)
        return output.last_hidden_state[mask.bool()]


def base_of(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def token_rows(input_ids: Tensor, attention_mask: Tensor) -> list[list[int]]:
    """A padded batch without its padding."""
    return [row[there].tolist() for row, there in zip(input_ids, attention_mask.bool(), strict=True)]


def install(wrapped: Any) -> Compute:
    """Give the model (inside any PEFT wrapper) the fast `fused_lm_head=True`, once, and return what computes it."""
    from trl.trainer.utils import FusedCausalLMOutput

    model = base_of(wrapped)
    if hasattr(model, INSTALLED):
        installed: Compute = getattr(model, INSTALLED)
        return installed
    keep_freed_memory()
    compute = Compute(model)
    original = model.forward
    if not compute.plain_head:
        return compute  # TRL's way is right, if slower

    def forward(self: Any, *arguments: Any, **keywords: Any) -> Any:
        if not keywords.pop("fused_lm_head", False):
            return original(*arguments, **keywords)
        ids, mask = keywords["input_ids"], keywords.get("attention_mask")
        asked = keywords["labels"][:, 1:] != -100  # (B, L-1)
        present = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool()
        rows = token_rows(ids, present)
        # of a row's tokens, those that are followed by one that is asked for
        predicts = functional.pad(asked, (0, 1))[present]
        hidden = compute.hidden(rows)[predicts]  # (N, H)
        head = self.get_output_embeddings()
        log_probs, top = LabelLogProbs.apply(hidden, head.weight, head.bias, keywords["labels"][:, 1:][asked])

        def place(values: Any) -> Any:  # (N,) -> (B, L-1)
            return values.new_zeros(asked.shape).masked_scatter(asked, values)

        nothing = torch.zeros(asked.shape)
        return FusedCausalLMOutput(
            log_probs=place(log_probs), entropy=nothing, mean_logits=nothing, is_top1=place(top), label_mask=asked
        )

    model.forward = types.MethodType(forward, model)
    setattr(model, INSTALLED, compute)
    return compute
