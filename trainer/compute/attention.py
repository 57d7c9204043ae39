"""Causal attention over padded rows and its slopes, on a CPU.

Padding stands behind a row's tokens, so that causality alone keeps tokens from seeing it. The forward pass is torch's
flash kernel. Its backward kernel is slow in bfloat16 (three to five times this one's time at 60 to 100 tokens a row,
1.5 times at 500), so there the few products are written out, for as many heads at a time as the cache holds.
"""

import torch
from torch import Tensor

aten = torch.ops.aten
CACHED_BYTES = 1 << 20
"""Of scores at a time."""


def attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """(B, heads, L, d) three times → what each token attends to, alike, and the scores' logsumexp (B, heads, L)."""
    attended, log_sum = aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, True, scale=scale)
    return attended, log_sum


def attend_backward(
    d_attended: Tensor, query: Tensor, key: Tensor, value: Tensor, attended: Tensor, log_sum: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The slopes by query, key and value."""
    if query.dtype != torch.bfloat16:
        slopes: tuple[Tensor, Tensor, Tensor] = aten._scaled_dot_product_flash_attention_for_cpu_backward(
            d_attended, query, key, value, attended, log_sum, 0.0, True, scale=scale
        )
        return slopes
    shape = query.shape
    length, width = shape[2:]
    query, key, value, d_attended = (part.reshape(-1, length, width) for part in (query, key, value, d_attended))
    along = (attended.reshape(-1, length, width) * d_attended).sum(-1, keepdim=True, dtype=torch.float32)
    log_sum = log_sum.reshape(-1, length, 1)
    sees = torch.ones(length, length).tril_()
    d_query, d_key, d_value = (torch.empty_like(query) for _ in range(3))
    at_once = max(1, CACHED_BYTES // (4 * length * length))
    for start in range(0, len(query), at_once):
        some = slice(start, start + at_once)
        scores = (query[some] @ key[some].transpose(1, 2)).float().mul_(scale)
        chances = scores.sub_(log_sum[some]).exp_().mul_(sees)  # (n, L, L)
        torch.bmm(chances.to(query.dtype).transpose(1, 2), d_attended[some], out=d_value[some])
        d_chances = (d_attended[some] @ value[some].transpose(1, 2)).float()
        d_scores = d_chances.sub_(along[some]).mul_(chances).mul_(scale).to(query.dtype)
        torch.bmm(d_scores, key[some], out=d_query[some])
        torch.bmm(d_scores.transpose(1, 2), query[some], out=d_key[some])
    return d_query.view(shape), d_key.view(shape), d_value.view(shape)
