"""The compiled decoder behind the same seam as transformers' model (`service.engines.local.decoder`).

Promises: a step is one call that holds no lock of Python's; each request's keys and values are a tensor of its own.
Leaves out the mathematics (`decoder.cpp`) and the layout of weights (`packing`).
"""

import ctypes
from array import array
from collections.abc import Mapping, Sequence

import torch

from service.engines.local.decoder import BLOCK_TOKENS, Chunk, Halves, Slot
from service.engines.local.native.library import EXACT16, EXACT32, FAST, Row, load
from service.engines.local.native.packing import PackedAdapter, PackedModel, choose_kind, pack_adapter, unfit

STEP_CAPACITY = 64
"""A request's cache has a multiple of so many positions; when it is full, it grows by a quarter at least."""

KEPT_CAPACITY = 256
"""Positions it may keep for the next request."""

NAMES = {EXACT32: "float32", EXACT16: "float32 on bfloat16 weights", FAST: "bfloat16"}


class NativeSlot(Slot):
    """One request's keys and values (layers, key/value heads, 2, capacity · head size), sixteen positions a block."""

    def __init__(self, model: PackedModel) -> None:
        self._model = model
        self.capacity = 0
        self.tensor = torch.empty(0)

    def reserve(self, tokens: int) -> None:
        if tokens <= self.capacity:
            return
        model = self._model
        capacity = tokens + -tokens % STEP_CAPACITY
        if self.capacity:
            capacity = max(capacity, self.capacity * 5 // 4 // STEP_CAPACITY * STEP_CAPACITY)
        tensor = torch.empty(model.layers, model.key_heads, 2, capacity * model.head_size, dtype=model.cache_dtype)
        if self.capacity:
            tensor[..., : self.tensor.shape[-1]] = self.tensor
        self.tensor, self.capacity = tensor, capacity

    def read(self, start: int, end: int) -> torch.Tensor:
        size = self._model.head_size
        return self.tensor[..., start * size : (end + -end % BLOCK_TOKENS) * size].clone()

    def write(self, start: int, states: torch.Tensor) -> None:
        size = self._model.head_size
        self.reserve(start + states.shape[-1] // size)
        self.tensor[..., start * size : start * size + states.shape[-1]] = states

    def clear(self) -> None:
        if self.capacity > KEPT_CAPACITY:
            self.tensor, self.capacity = torch.empty(0), 0


class NativeDecoder:
    def __init__(self, model: torch.nn.Module, kind: int, positions: int, threads: int) -> None:
        library = load()
        assert library is not None
        self._step = library.decoder_step
        self._close = library.decoder_close
        self._model = PackedModel(model, kind, positions)
        self._adapters: dict[str, PackedAdapter] = {}
        self._handle = library.decoder_open(ctypes.byref(self._model.struct), threads)
        self.name = f"compiled, {NAMES[kind]}"
        self.kv_token_bytes = 2 * self._model.layers * self._model.key_heads * self._model.head_size
        self.kv_token_bytes *= self._model.cache_dtype.itemsize

    def open_slots(self, count: int) -> list[Slot]:
        return [NativeSlot(self._model) for _ in range(count)]

    def pack_adapter(self, modules: Mapping[str, Halves]) -> PackedAdapter:
        return pack_adapter(self._model, modules)

    def add_adapter(self, version: str, packed: PackedAdapter) -> None:
        self._adapters[version] = packed

    def remove_adapter(self, version: str) -> None:
        self._adapters.pop(version, None)

    def forward(self, chunks: Sequence[Chunk]) -> torch.Tensor:
        targets: dict[int, int] = {}
        kept = 0
        for index, chunk in enumerate(chunks):
            targets[index] = kept
            kept += chunk.keep
        order = sorted(range(len(chunks)), key=lambda index: chunks[index].version)  # each adapter's rows together
        rows = (Row * len(chunks))()
        tokens = array("i")
        for row, index in zip(rows, order, strict=True):
            chunk = chunks[index]
            slot = chunk.slot
            assert isinstance(slot, NativeSlot)
            slot.reserve(chunk.start + len(chunk.tokens))
            adapter = self._adapters.get(chunk.version)
            row.cache, row.plane = slot.tensor.data_ptr(), slot.capacity * self._model.head_size
            row.start, row.count = chunk.start, len(chunk.tokens)
            row.keep, row.target = chunk.keep, targets[index]
            if adapter is not None:
                row.sites = adapter.sites
            tokens.extend(chunk.tokens)
        logits = torch.empty(kept, self._model.logits_width)
        self._step(self._handle, rows, len(rows), tokens.buffer_info()[0], logits.data_ptr())
        return logits[:, : self._model.vocabulary]

    def close(self) -> None:
        self._close(self._handle)


def open_native(model: torch.nn.Module, positions: int) -> NativeDecoder | None:
    """The compiled decoder, if it was built, this processor runs it, and the model has its shape."""
    library = load()
    weight = next(model.parameters())
    if library is None or weight.device.type != "cpu" or unfit(model) is not None:
        return None
    kind = choose_kind(model, weight.dtype, has_fast=bool(library.has_fast()))
    if kind is None:
        return None
    return NativeDecoder(model, kind, positions, torch.get_num_threads())
