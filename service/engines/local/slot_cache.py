"""The key/value cache: a fixed number of slots, one running request each, of different lengths.

Promises: a step reads a contiguous range of slots as a view, without copying; writing a token costs one indexed
copy a layer. Capacity doubles as the longest request grows. Leaves out who sits in which slot.
"""

from collections.abc import Sequence

import torch
from transformers import Cache

FIRST_CAPACITY = 256
"""Positions a slot has at first."""

KEPT_CAPACITY = 1024
"""Positions a slot may keep while nothing runs."""


class SlotCache(Cache):  # type: ignore[misc]  # transformers is untyped here
    """Passed to a transformers model as `past_key_values`; call `begin` before each forward."""

    def __init__(self, slots: int) -> None:
        super().__init__(layers=[])
        self.slots = slots
        self.capacity = 0
        # Each layer (slots + 1, capacity, key/value heads, head size). The last slot takes what padding writes.
        self._keys: list[torch.Tensor] = []
        self._values: list[torch.Tensor] = []
        self._first, self._count, self._visible = 0, 0, 0
        self._index = torch.empty(0, dtype=torch.long)

    def begin(self, first: int, positions: torch.Tensor, real: torch.Tensor | None, visible: int) -> None:
        """Say where the next forward writes: row i of `positions` (B, Q) goes to slot `first + i`.

        `real` (B, Q) is false at padding; `visible` is how many positions attention looks at.
        """
        self._reserve(visible)
        self._first, self._count, self._visible = first, positions.shape[0], visible
        slots = torch.arange(first, first + self._count, device=positions.device).unsqueeze(1)  # (B, 1)
        index = slots * self.capacity + positions  # (B, Q)
        if real is not None:
            index = index.masked_fill(~real, self.slots * self.capacity)
        self._index = index.reshape(-1)  # (B·Q,)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store this step's keys and values (B, H, Q, D) and return everything visible (B, H, visible, D)."""
        if layer_idx == len(self._keys):
            self._keys.append(self._allocate(key_states))
            self._values.append(self._allocate(value_states))
        return self._write(self._keys[layer_idx], key_states), self._write(self._values[layer_idx], value_states)

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a slot's first `length` positions into another slot."""
        for layer in (*self._keys, *self._values):
            layer[target, :length] = layer[source, :length]

    def swap(self, one: int, other: int, length: int) -> None:
        for layer in (*self._keys, *self._values):
            kept = layer[one, :length].clone()
            layer[one, :length] = layer[other, :length]
            layer[other, :length] = kept

    def spread(self, slots: Sequence[int], length: int) -> "SlotCache":
        """A new cache whose slot i begins as a copy of this one's `slots[i]`, up to `length` positions."""
        wide = SlotCache(len(slots))
        wide.capacity = self.capacity
        for layers, copies in ((self._keys, wide._keys), (self._values, wide._values)):
            for layer in layers:
                copy = layer.new_zeros(len(slots) + 1, self.capacity, *layer.shape[2:])
                copy[:-1, :length] = layer[list(slots), :length]
                copies.append(copy)
        return wide

    def shrink(self) -> None:
        """Free what long requests made it grow to; for when nothing runs."""
        if self.capacity > KEPT_CAPACITY:
            self.capacity = 0
            self._keys, self._values = [], []

    def _write(self, layer: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        rows = states.transpose(1, 2).flatten(0, 1)  # (B·Q, H, D)
        layer.flatten(0, 1).index_copy_(0, self._index, rows)
        return layer[self._first : self._first + self._count, : self._visible].transpose(1, 2)

    def _reserve(self, tokens: int) -> None:
        if tokens <= self.capacity:
            return
        self.capacity = max(FIRST_CAPACITY, 1 << (tokens - 1).bit_length())
        for layers in (self._keys, self._values):
            for number, old in enumerate(layers):
                # Zeros, since what is masked out is still multiplied by zero: memory may hold NaN.
                layers[number] = old.new_zeros(self.slots + 1, self.capacity, *old.shape[2:])
                layers[number][:, : old.shape[1]] = old

    def _allocate(self, states: torch.Tensor) -> torch.Tensor:
        return states.new_zeros(self.slots + 1, self.capacity, states.shape[1], states.shape[3])
