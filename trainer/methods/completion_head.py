"""TRL's seam for log-probabilities, made fast on a CPU: `model(..., labels=…, fused_lm_head=True)`.

SFT, DPO and KTO all ask a model for the log-probabilities of the tokens whose label isn't -100. TRL answers on
a CPU by running every padded row in full and projecting every position, prompts included, onto the vocabulary.
`install` answers with the same numbers from less work:

- rows of a batch that begin alike share those tokens: the batch is laid out as one prefix tree in which a token
  sees its ancestors only, so a system prompt or a pair's common prompt is computed once, and padding never;
- only positions that predict a labelled token meet the vocabulary, in the model's dtype, and their gradient is
  formed in the same pass.

The first batch is computed both ways; a model whose numbers disagree (linear attention, say) keeps padded rows.
Leaves out CUDA, where TRL's own kernel already skips unlabelled positions.
"""

import logging
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

log = logging.getLogger(__name__)

MOST_SHARED_TOKENS = 1536
"""Attention in the tree costs tokens²: past this, padded rows are cheaper."""
LARGEST_DISAGREEMENT = 0.15
"""Mean absolute difference in nats between the two layouts that bf16 rounding explains."""


@dataclass(frozen=True)
class PrefixTree:
    tokens: list[int]
    parents: list[int]
    positions: list[int]
    paths: list[list[int]]


def prefix_tree(rows: Sequence[Sequence[int]]) -> PrefixTree:
    """Merge rows that begin alike. Node 0 is some row's first token; a root's parent is -1.

    >>> tree = prefix_tree([[7, 8, 9], [7, 8, 4, 5]])
    >>> tree.tokens, tree.parents, tree.positions
    ([7, 8, 9, 4, 5], [-1, 0, 1, 1, 3], [0, 1, 2, 2, 3])
    >>> tree.paths
    [[0, 1, 2], [0, 1, 3, 4]]
    """
    tokens: list[int] = []
    parents: list[int] = []
    positions: list[int] = []
    paths: list[list[int]] = []
    known: dict[tuple[int, int], int] = {}
    for row in rows:
        node, path = -1, []
        for position, token in enumerate(row):
            child = known.get((node, token))
            if child is None:
                child = known[node, token] = len(tokens)
                tokens.append(token)
                parents.append(node)
                positions.append(position)
            node = child
            path.append(node)
        paths.append(path)
    return PrefixTree(tokens, parents, positions, paths)


def ancestors_mask(parents: Sequence[int]) -> torch.Tensor:
    """Which tokens a token sees: its ancestors and itself.

    >>> ancestors_mask([-1, 0, 0]).int().tolist()
    [[1, 0, 0], [1, 1, 0], [1, 0, 1]]
    """
    sees = torch.eye(len(parents), dtype=torch.bool)  # (T, T)
    for node, parent in enumerate(parents):
        if parent >= 0:
            sees[node] |= sees[parent]
    return sees


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
            logits = functional.linear(hidden[piece], weight, bias).float()  # (n, V)
            tops.append(logits.argmax(-1) == labels[piece])
            logits -= logits.logsumexp(-1, keepdim=True)
            log_probs.append(logits.gather(-1, labels[piece, None])[:, 0])
            if ctx.needs_input_grad[0]:
                slopes.append(weight[labels[piece]] - logits.exp_().to(weight.dtype) @ weight)  # (n, H)
        ctx.save_for_backward(torch.cat(slopes) if slopes else hidden[:0])
        empty = hidden.new_zeros(0, dtype=torch.float32)
        top = torch.cat(tops) if tops else empty.bool()
        ctx.mark_non_differentiable(top)
        return (torch.cat(log_probs) if log_probs else empty), top

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (slopes,) = ctx.saved_tensors
        return gradients[0][:, None].to(slopes.dtype) * slopes, None, None, None


def install(model: Any) -> None:
    """Give a causal language model (inside any PEFT wrapper) the fast `fused_lm_head=True`."""
    from trl.trainer.utils import FusedCausalLMOutput

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    original = base.forward
    text_config = base.config.get_text_config()
    scaled = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier", "output_multiplier")
    if any(getattr(text_config, name, None) for name in scaled):
        return  # a head with its own arithmetic: TRL's way is right, if slower
    shares: list[bool] = []  # what the first batch said

    def forward(self: Any, *arguments: Any, **keywords: Any) -> Any:
        if not keywords.pop("fused_lm_head", False):
            return original(*arguments, **keywords)
        labels = keywords["labels"][:, 1:]
        asked = labels != -100  # (B, L-1)
        batch = (self, keywords["input_ids"], keywords.get("attention_mask"))
        if not shares:
            was_training = self.training
            self.eval()  # dropout would make them differ, and draw random numbers that a resumed run mustn't
            with torch.no_grad():
                shares.append(_layouts_agree(*batch, labels, asked))
            self.train(was_training)
        hidden = (_hidden_shared if shares[0] else padded_hidden)(*batch, asked)  # (N, H)
        head = self.get_output_embeddings()
        log_probs, top = LabelLogProbs.apply(hidden, head.weight, head.bias, labels[asked])

        def place(values: Any) -> Any:  # (N,) -> (B, L-1)
            return values.new_zeros(asked.shape).masked_scatter(asked, values)

        nothing = torch.zeros(asked.shape)
        return FusedCausalLMOutput(
            log_probs=place(log_probs), entropy=nothing, mean_logits=nothing, is_top1=place(top), label_mask=asked
        )

    base.forward = types.MethodType(forward, base)


def padded_hidden(model: Any, input_ids: Any, attention_mask: Any, asked: Any) -> Any:
    """Last hidden states (N, H) at the `asked` positions of padded rows."""
    output = model.base_model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
    return output.last_hidden_state[:, : asked.shape[1]][asked]


def _hidden_shared(model: Any, input_ids: Any, attention_mask: Any, asked: Any) -> Any:
    lengths = [input_ids.shape[1]] * len(input_ids) if attention_mask is None else attention_mask.sum(1).tolist()
    tree = prefix_tree([row[:length] for row, length in zip(input_ids.tolist(), lengths, strict=True)])
    if len(tree.tokens) > MOST_SHARED_TOKENS:
        return padded_hidden(model, input_ids, attention_mask, asked)
    hidden_of = [tree.paths[row][column] for row, column in asked.nonzero().tolist()]
    sees = ancestors_mask(tree.parents)
    bias = torch.zeros(sees.shape, dtype=model.dtype).masked_fill_(~sees, torch.finfo(model.dtype).min)
    output = model.base_model(
        input_ids=torch.tensor([tree.tokens]),  # (1, T)
        position_ids=torch.tensor([tree.positions]),
        attention_mask=bias[None, None],  # (1, 1, T, T)
        use_cache=False,
    )
    return output.last_hidden_state[0, torch.tensor(hidden_of, dtype=torch.long)]


def _layouts_agree(model: Any, input_ids: Any, attention_mask: Any, labels: Any, asked: Any) -> bool:
    head = model.get_output_embeddings()
    try:
        shared, padded = (
            LabelLogProbs.apply(hidden(model, input_ids, attention_mask, asked), head.weight, head.bias, labels[asked])[
                0
            ]
            for hidden in (_hidden_shared, padded_hidden)
        )
    except (TypeError, ValueError, RuntimeError) as error:
        log.info("Padded rows: this model takes no prefix tree (%s).", error)
        return False
    difference = float((shared - padded).abs().mean()) if len(shared) else 0.0
    if difference > LARGEST_DISAGREEMENT:
        log.info("Padded rows: the prefix tree's log-probabilities differ by %.3f nats.", difference)
    return difference <= LARGEST_DISAGREEMENT
