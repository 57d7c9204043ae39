"""transformers' key/value cache: a place for each running request, all in one tensor a layer.

Promises: a step reads neighbouring places as a view, without copying; writing a token costs one indexed copy a layer;
a slot keeps its content wherever it is moved to. Capacity doubles as the longest request grows. Leaves out who runs.
"""

from collections.abc import Sequence

import torch
from transformers import Cache

from service.engines.local.decoder import Slot

FIRST_CAPACITY = 256
"""Positions a place has at first."""

KEPT_CAPACITY = 1024
"""Positions a place may keep while nothing runs."""


class CacheSlot(Slot):
    """A place that may move. `used` positions of it hold something."""

    def __init__(self, cache: "SlotCache", place: int) -> None:
        self.cache = cache
        self.place = place
        self.used = 0

    def read(self, start: int, end: int) -> torch.Tensor:
        return torch.stack([layer[self.place, start:end] for layer in self.cache.states]).movedim(1, -1)

    def write(self, start: int, states: torch.Tensor) -> None:  # (2·L, H, D, positions)
        end = start + states.shape[-1]
        self.cache.reserve(end, states)
        self.used = max(self.used, end)
        for layer, state in zip(self.cache.states, states.movedim(-1, 1), strict=True):
            layer[self.place, start:end] = state

    def clear(self) -> None:
        self.used = 0
        self.cache.shrink()


class SlotCache(Cache):  # type: ignore[misc]  # transformers is untyped here
    """Passed to a transformers model as `past_key_values`; call `arrange` and `begin` before each forward."""

    def __init__(self, count: int) -> None:
        super().__init__(layers=[])
        self.capacity = 0
        # Keys and values in turn, (count + 1, capacity, heads, size) each. The last place takes what padding writes.
        self.states: list[torch.Tensor] = []
        self.slots = [CacheSlot(self, place) for place in range(count)]  # by place
        self._first, self._count, self._visible = 0, 0, 0
        self._index = torch.empty(0, dtype=torch.long)

    def arrange(self, slots: Sequence[CacheSlot], first: int) -> list[int]:
        """Move the slots into the places from `first` on, those that are there staying; their order by place.

        >>> cache = SlotCache(4)
        >>> a, b, c, d = cache.slots
        >>> cache.arrange([c, b], 0)
        [0, 1]
        >>> [cache.slots.index(slot) for slot in (a, b, c, d)]
        [2, 1, 0, 3]
        """
        end = first + len(slots)
        wanted = set(map(id, slots))
        holes = [place for place in range(first, end) if id(self.slots[place]) not in wanted]
        for slot, hole in zip((slot for slot in slots if not first <= slot.place < end), holes, strict=True):
            self._exchange(self.slots[hole], slot)
        return sorted(range(len(slots)), key=lambda index: slots[index].place)

    def begin(self, first: int, positions: torch.Tensor, real: torch.Tensor | None, visible: int) -> None:
        """Say where the next forward writes: row i of `positions` (B, Q) goes to place `first + i`.

        `real` (B, Q) is false at padding; `visible` is how many positions attention looks at.
        """
        self.reserve(visible)
        self._first, self._count, self._visible = first, positions.shape[0], visible
        for slot, last in zip(self.slots[first : first + self._count], positions.amax(-1).tolist(), strict=True):
            slot.used = max(slot.used, last + 1)
        places = torch.arange(first, first + self._count, device=positions.device).unsqueeze(1)  # (B, 1)
        index = places * self.capacity + positions  # (B, Q)
        if real is not None:
            index = index.masked_fill(~real, len(self.slots) * self.capacity)
        self._index = index.reshape(-1)  # (B·Q,)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store this step's keys and values (B, H, Q, D) and return everything visible (B, H, visible, D)."""
        if 2 * layer_idx == len(self.states):
            self.states += [
                self._allocate(states, states.shape[1], states.shape[3]) for states in (key_states, value_states)
            ]
        keys, values = self.states[2 * layer_idx : 2 * layer_idx + 2]
        return self._write(keys, key_states), self._write(values, value_states)

    def reserve(self, tokens: int, like: torch.Tensor | None = None) -> None:
        """Room for so many positions. `like` (2·L, H, D, …) says what a cache that was never used will hold."""
        if tokens > self.capacity:
            self.capacity = max(FIRST_CAPACITY, 1 << (tokens - 1).bit_length())
            for number, layer in enumerate(self.states):
                # Zeros, since what is masked out is still multiplied by zero: memory may hold NaN.
                grown = layer.new_zeros(layer.shape[0], self.capacity, *layer.shape[2:])
                grown[:, : layer.shape[1]] = layer
                self.states[number] = grown
        if like is not None and not self.states:
            self.states = [self._allocate(layer, *layer.shape[:2]) for layer in like]

    def shrink(self) -> None:
        """Free what long requests made it grow to, once nothing runs."""
        if self.capacity > KEPT_CAPACITY and not any(slot.used for slot in self.slots):
            self.capacity, self.states = 0, []

    def _exchange(self, one: CacheSlot, other: CacheSlot) -> None:
        used = max(one.used, other.used)
        for layer in self.states:
            kept = layer[one.place, :used].clone()
            layer[one.place, :used] = layer[other.place, :used]
            layer[other.place, :used] = kept
        one.place, other.place = other.place, one.place
        self.slots[one.place], self.slots[other.place] = one, other

    def _write(self, layer: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        rows = states.transpose(1, 2).flatten(0, 1)  # (B·Q, H, D)
        layer.flatten(0, 1).index_copy_(0, self._index, rows)
        return layer[self._first : self._first + self._count, : self._visible].transpose(1, 2)

    def _allocate(self, like: torch.Tensor, heads: int, size: int) -> torch.Tensor:
        return like.new_zeros(len(self.slots) + 1, self.capacity, heads, size)
