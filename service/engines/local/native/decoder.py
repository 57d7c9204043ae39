"""The compiled decoder behind the same seam as transformers' model (`service.engines.local.decoder`).

Promises: a step is one call that holds no lock of Python's; each request's keys and values are a tensor of its own;
nothing is read or written outside of the model's and the requests' tensors, whatever the chunks say.
Leaves out the mathematics (`decoder.cpp`) and the layout of weights (`packing`).
"""

import ctypes
import weakref
from array import array
from collections.abc import Mapping, Sequence

import torch

from service.engines.local.decoder import BLOCK_TOKENS, Chunk, Halves, Slot
from service.engines.local.native.library import DONE, EXACT16, EXACT32, FAST, NO_MEMORY, Row, load
from service.engines.local.native.packing import PackedAdapter, PackedModel, choose_kind, pack_adapter, unfit
from service.engines.local.threads import usable_threads

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
    """`handle`: what `library` opened for `model`; it is closed with this object, or when nobody has that any more."""

    def __init__(self, library: ctypes.CDLL, handle: int, model: PackedModel) -> None:
        self._step = library.decoder_step
        self._model = model
        self._adapters: dict[str, PackedAdapter] = {}
        self._handle = handle
        self._finalizer = weakref.finalize(self, _close, library, handle, model)
        self._finalizer.atexit = False  # a step may still be running then
        self.name = f"compiled, {NAMES[model.kind]}"
        self.kv_token_bytes = 2 * model.layers * model.key_heads * model.head_size * model.cache_dtype.itemsize

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
        tokens = [token for index in order for token in chunks[index].tokens]
        self._check(chunks, tokens)
        rows = (Row * len(chunks))()
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
        ids = array("i", tokens)
        logits = torch.empty(kept, self._model.logits_width)
        status = self._step(self._handle, rows, len(rows), ids.buffer_info()[0], logits.data_ptr())
        if status == NO_MEMORY:
            raise MemoryError("The compiled decoder found no memory for a step. Lower BURNISH_MAX_BATCH.")
        if status != DONE:
            raise RuntimeError("The compiled decoder failed in a step.")
        return logits[:, : self._model.vocabulary]

    def _check(self, chunks: Sequence[Chunk], tokens: Sequence[int]) -> None:
        """The compiled code follows every number into memory."""
        if not self._finalizer.alive:
            raise RuntimeError("The decoder is closed.")
        if tokens and not 0 <= min(tokens) <= max(tokens) < self._model.vocabulary:
            wrong = next(token for token in tokens if not 0 <= token < self._model.vocabulary)
            raise ValueError(f"Token {wrong} isn't one of the model's {self._model.vocabulary}.")
        for chunk in chunks:
            count = len(chunk.tokens)
            if chunk.start < 0 or chunk.start + count > self._model.positions or not 0 <= chunk.keep <= count:
                raise ValueError(
                    f"{count} tokens from position {chunk.start} on, {chunk.keep} of them kept, don't fit "
                    f"{self._model.positions} positions."
                )

    def close(self) -> None:
        self._finalizer()


def _close(library: ctypes.CDLL, handle: int, model: PackedModel) -> None:
    """The model is an argument because it must outlive the handle, which points into it."""
    library.decoder_close(handle)


def open_native(model: torch.nn.Module, positions: int) -> NativeDecoder | None:
    """The compiled decoder, if it was built, this processor runs it, the model has its shape, and there is room."""
    library = load()
    weight = next(model.parameters())
    if library is None or weight.device.type != "cpu" or unfit(model) is not None:
        return None
    kind = choose_kind(model, weight.dtype, has_fast=bool(library.has_fast()))
    if kind is None:
        return None
    packed = PackedModel(model, kind, positions)
    handle = library.decoder_open(ctypes.byref(packed.struct), usable_threads())
    return NativeDecoder(library, handle, packed) if handle else None
