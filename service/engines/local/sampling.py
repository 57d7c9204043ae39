"""Picking the next token of every row of a batch at once.

Promises: temperature 0 is the likeliest token; otherwise a draw from the softmax at that temperature, cut to the
smallest set of tokens whose probability reaches `top_p`. A row's result depends on its own logits, settings and
uniform number only. Leaves out where those numbers come from.
"""

from collections.abc import Sequence

import torch

NUCLEUS_TOKENS = 1024
"""A nucleus is looked for among this many likeliest tokens first; sorting a whole vocabulary is slow."""


def pick_tokens(
    logits: torch.Tensor, temperatures: Sequence[float], top_ps: Sequence[float], uniforms: Sequence[float]
) -> list[int]:
    """One token for each row of `logits` (B, V); `uniforms` are numbers in [0, 1) by inverse-CDF sampling."""
    picked: torch.Tensor = logits.argmax(-1)  # (B,)
    sampled = [row for row, temperature in enumerate(temperatures) if temperature > 0]
    if sampled:
        heat = torch.tensor([temperatures[row] for row in sampled], device=logits.device).unsqueeze(1)
        probabilities = torch.softmax(logits[sampled].float() / heat.clamp_min(1e-4), dim=-1)  # (S, V)
        draws = torch.tensor([uniforms[row] for row in sampled], dtype=torch.float64, device=logits.device)
        whole = [index for index, row in enumerate(sampled) if top_ps[row] >= 1]
        nucleus = [index for index, row in enumerate(sampled) if top_ps[row] < 1]
        rows = torch.tensor(sampled, device=logits.device)
        if whole:
            picked[rows[whole]] = _invert(probabilities[whole], draws[whole])
        if nucleus:
            limits = torch.tensor([top_ps[sampled[index]] for index in nucleus], device=logits.device)
            picked[rows[nucleus]] = _pick_in_nucleus(probabilities[nucleus], limits, draws[nucleus])
    return [int(token) for token in picked.tolist()]


def _pick_in_nucleus(probabilities: torch.Tensor, top_p: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """As Holtzman et al. 2020, section 3.1: the likeliest tokens up to and including the one that reaches top_p."""
    likeliest, tokens = probabilities.topk(min(NUCLEUS_TOKENS, probabilities.shape[-1]))  # (S, K)
    if bool((likeliest.sum(-1) < top_p).any()):
        likeliest, tokens = probabilities.sort(-1, descending=True)
    before = likeliest.cumsum(-1) - likeliest
    kept = likeliest.masked_fill(before >= top_p.unsqueeze(1), 0)
    return tokens.gather(-1, _invert(kept, draws).unsqueeze(1)).squeeze(1)


def _invert(weights: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """The index at which the running sum of `weights` (S, V) passes `draws` (S,) of its total."""
    sums = weights.double().cumsum(-1)
    index = torch.searchsorted(sums, (draws * sums[:, -1]).unsqueeze(1), right=True).squeeze(1)
    last = (weights > 0).int().cumsum(-1).argmax(-1)  # rounding must not select a token of no probability
    return torch.minimum(index, last)
