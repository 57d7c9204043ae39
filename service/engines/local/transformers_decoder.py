"""Any Hugging Face causal LM behind the decoder's seam: on a GPU, or where the compiled decoder doesn't fit.

Promises: padding is never seen by a real token. Leaves out the cache's bookkeeping (`slot_cache`) and how adapters mix
(`adapters`).
"""

from collections.abc import Mapping, Sequence

import torch

from service.engines.local.adapters import Adapters
from service.engines.local.decoder import Chunk, Halves, Slot
from service.engines.local.slot_cache import CacheSlot, SlotCache


class TransformersDecoder:
    def __init__(self, model: torch.nn.Module) -> None:
        weight = next(model.parameters())
        self.name = f"transformers, {str(weight.dtype).removeprefix('torch.')} on {weight.device.type}"
        config = model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.kv_token_bytes = 2 * config.num_hidden_layers * heads * size * weight.dtype.itemsize
        self._model = model
        self._adapters = Adapters(model)
        self._device, self._dtype = weight.device, weight.dtype

    def open_slots(self, count: int) -> Sequence[Slot]:
        return SlotCache(count).slots

    def pack_adapter(self, modules: Mapping[str, Halves]) -> dict[str, Halves]:
        return self._adapters.pack(modules)

    def add_adapter(self, version: str, packed: dict[str, Halves]) -> None:
        self._adapters.add(version, packed)

    def remove_adapter(self, version: str) -> None:
        self._adapters.remove(version)

    def forward(self, chunks: Sequence[Chunk]) -> torch.Tensor:
        """Single tokens in one pass of the model, longer pieces in another: padding would cost more than a pass."""
        singles = [index for index, chunk in enumerate(chunks) if len(chunk.tokens) == 1]
        others = [index for index, chunk in enumerate(chunks) if len(chunk.tokens) != 1]
        if not singles or not any(chunks[index].tokens for index in others):
            return self._pass(chunks, 0)
        written = self._pass([chunks[index] for index in singles], 0)
        read = self._pass([chunks[index] for index in others], len(singles))
        parts = [*written.split([chunks[index].keep for index in singles])]
        parts += read.split([chunks[index].keep for index in others])
        whole = dict(zip([*singles, *others], parts, strict=True))
        return torch.cat([whole[index] for index in range(len(chunks))])  # (N, V)

    def _pass(self, given: Sequence[Chunk], first: int) -> torch.Tensor:
        """Run chunks padded to one width, in the cache's places from `first` on; their logits (N, V)."""
        slots = [chunk.slot for chunk in given if isinstance(chunk.slot, CacheSlot)]
        cache = slots[0].cache
        order = cache.arrange(slots, first)
        chunks = [given[index] for index in order]
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
        self._adapters.select([chunk.version for chunk in chunks])
        logits = self._model(
            input_ids=tokens,
            position_ids=positions,
            attention_mask=self._mask(positions, visible),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=keep,
        ).logits
        logits = logits.flatten(0, -2).float()  # (N, V)
        if order == sorted(order):
            return logits
        parts = dict(zip(order, logits.split([chunk.keep for chunk in chunks]), strict=True))
        return torch.cat([parts[index] for index in range(len(given))])

    def _mask(self, positions: torch.Tensor, visible: int) -> torch.Tensor:
        """Additive attention mask (B, 1, Q, visible): a token sees the positions up to its own."""
        hidden = torch.arange(visible, device=self._device) > positions[:, None, :, None]
        mask = torch.zeros(hidden.shape, dtype=self._dtype, device=self._device)
        return mask.masked_fill_(hidden, torch.finfo(self._dtype).min)

    def _table(self, rows: list[list[int]]) -> torch.Tensor:
        return torch.tensor(rows, dtype=torch.long, device=self._device)
