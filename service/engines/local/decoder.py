"""One forward of the base model over a ragged batch: tokens at positions in, logits out.

Promises: each row continues its own slot with its own adapter version; the logits asked for come back in row
order, in float32. Leaves out scheduling and sampling.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from feedback.errors import AdapterRefused
from service.engines.base import BASE
from service.engines.local.adapters import Adapters
from service.engines.local.base_model import render
from service.engines.local.slot_cache import SlotCache

PROBE = [{"role": "user", "content": "What can you help me with today?"}]
PROBE_MINIMUM = 1e-4
"""An adapter that moves no log-probability of the probe by more than this (nats) does nothing."""


@dataclass(frozen=True)
class Chunk:
    """Some tokens of one row: `start` is the first one's position, `keep` how many last ones need logits."""

    tokens: Sequence[int]
    start: int
    version: str
    keep: int


class Decoder:
    def __init__(self, model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model = model
        self.adapters = Adapters(model)
        self._device = next(model.parameters()).device
        self._dtype = next(model.parameters()).dtype
        self._probe = render(tokenizer, PROBE)

    def forward(self, cache: SlotCache, first: int, chunks: Sequence[Chunk]) -> torch.Tensor:
        """Run `chunks` in the slots from `first` on; returns the kept positions' logits (N, V).

        Call it under `torch.inference_mode()`.
        """
        width = max(len(chunk.tokens) for chunk in chunks)
        visible = max(chunk.start + len(chunk.tokens) for chunk in chunks)
        tokens = self._table([[*chunk.tokens, *[0] * (width - len(chunk.tokens))] for chunk in chunks])  # (B, Q)
        columns = torch.arange(width, device=self._device)  # (Q,)
        starts = self._table([[chunk.start] for chunk in chunks])  # (B, 1)
        positions = starts + columns  # (B, Q)
        real: torch.Tensor | None = None
        keep: torch.Tensor | int = 1
        if width > 1 or not all(chunk.keep for chunk in chunks):
            lengths = self._table([[len(chunk.tokens)] for chunk in chunks])  # (B, 1)
            kept = self._table([[chunk.keep] for chunk in chunks])  # (B, 1)
            real = columns < lengths  # (B, Q)
            keep = real & (columns >= lengths - kept)  # (B, Q)
            positions = positions.masked_fill(~real, 0)  # padding must not run past a position table
        cache.begin(first, positions, real, visible)
        self.adapters.select([chunk.version for chunk in chunks])
        logits = self.model(
            input_ids=tokens,
            position_ids=positions,
            attention_mask=self._mask(positions, visible),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=keep,
        ).logits
        return logits.flatten(0, -2).float()  # (N, V)

    def probe(self, version: str) -> None:
        """Run base and adapter side by side in one batch. Raises AdapterRefused if the adapter breaks or idles."""
        rows = [Chunk(self._probe, 0, name, len(self._probe)) for name in (BASE, version)]
        try:
            logits = self.forward(SlotCache(2), 0, rows)  # (2·Q, V)
        except RuntimeError as error:
            raise AdapterRefused(f"The base model can't run with this adapter: {error}") from error
        base, adapted = logits.log_softmax(-1).chunk(2)  # (Q, V) each
        if not bool(adapted.isfinite().all()):
            raise AdapterRefused("With this adapter the model's output isn't finite; its training diverged.")
        if not bool((adapted - base).abs().max() > PROBE_MINIMUM):
            raise AdapterRefused("This adapter changes nothing: B is zero. Train it before it is published.")

    def _mask(self, positions: torch.Tensor, visible: int) -> torch.Tensor:
        """Additive attention mask (B, 1, Q, visible): a token sees the positions up to its own."""
        hidden = torch.arange(visible, device=self._device) > positions[:, None, :, None]
        mask = torch.zeros(hidden.shape, dtype=self._dtype, device=self._device)
        return mask.masked_fill_(hidden, torch.finfo(self._dtype).min)

    def _table(self, rows: list[list[int]]) -> torch.Tensor:
        return torch.tensor(rows, dtype=torch.long, device=self._device)
