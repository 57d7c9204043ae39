"""Keys and values of prompts read before, so that system prompts and growing conversations are read once.

Promises: what is found was computed by the same version from exactly the same tokens (they are compared, never only
their hash), for the same API key: how many tokens were known would tell others what somebody wrote. Memory stays under
its limit, the longest unused going first. Leaves out who runs.
"""

import itertools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from service.engines.local.decoder import BLOCK_TOKENS, Slot

MOST_COMPARED = 64
"""With how many latest continuations of a beginning a prompt is compared, for one that it shares in part."""

Whose = tuple[str, str]
"""An adapter version and an API key."""

Key = tuple[int, tuple[int, ...]]
"""A block's parent, by number, and the block's own tokens: together they say all tokens from the beginning on."""


@dataclass(eq=False)
class _Block:
    number: int
    key: Key
    states: torch.Tensor


class PrefixCache:
    """`limit_bytes` bounds the keys and values that are kept."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self.kept_bytes = 0
        self._blocks: OrderedDict[Key, _Block] = OrderedDict()  # the longest unused first
        self._by_number: dict[int, _Block] = {}
        self._children: dict[int, dict[int, _Block]] = {}  # by parent, then by their own number
        self._roots: dict[Whose, int] = {}
        self._next = 0

    def match(self, whose: Whose, tokens: Sequence[int]) -> int:
        """How many first tokens are known, at least one remaining to be read."""
        return self._find(whose, tokens[:-1])[1]

    def restore(self, whose: Whose, tokens: Sequence[int], slot: Slot) -> int:
        """Fill a slot with what `match` counted; returns the count. What the slot holds beyond it means nothing."""
        path, count = self._find(whose, tokens[:-1])
        for block in reversed(path):  # a parent is used later than its children, so it goes later
            self._blocks.move_to_end(block.key)
        if path:
            slot.write(0, torch.cat([block.states for block in path], dim=-1))
        return count

    def keep(self, whose: Whose, tokens: Sequence[int], slot: Slot) -> None:
        """Remember `tokens`, which the slot holds, in whole blocks."""
        path = self._path(whose, tokens)
        start, end = len(path) * BLOCK_TOKENS, len(tokens) // BLOCK_TOKENS * BLOCK_TOKENS
        if start == end:
            return
        states = slot.read(start, end)
        parts = states.chunk((end - start) // BLOCK_TOKENS, dim=-1)
        size = parts[0].numel() * parts[0].element_size()
        if not self._make_room(size * len(parts), {block.number for block in path}):
            return
        parent = path[-1].number if path else self._root(whose)
        for index, part in enumerate(parts):
            first = start + index * BLOCK_TOKENS
            parent = self._add((parent, tuple(tokens[first : first + BLOCK_TOKENS])), part.clone())

    def forget(self, version: str) -> None:
        """Drop all of a version's, which was unloaded."""
        numbers = {self._roots.pop(whose) for whose in list(self._roots) if whose[0] == version}
        for block in list(self._by_number.values()):  # parents have lower numbers than their children
            if block.key[0] in numbers:
                numbers.add(block.number)
                self._drop(block)

    def _find(self, whose: Whose, tokens: Sequence[int]) -> tuple[list[_Block], int]:
        """The blocks that hold a beginning of `tokens`, and how much: of the last one perhaps only a part."""
        path = self._path(whose, tokens)
        count = len(path) * BLOCK_TOKENS
        rest = tokens[count : count + BLOCK_TOKENS]
        parent = path[-1].number if path else self._roots.get(whose, -1)
        latest = itertools.islice(reversed(self._children.get(parent, {}).values()), MOST_COMPARED)
        partly = [(shared_tokens(rest, block.key[1]), block) for block in latest]
        most, block = max(partly, key=lambda pair: pair[0], default=(0, None))
        if block is not None and most:
            path.append(block)
        return path, count + most

    def _path(self, whose: Whose, tokens: Sequence[int]) -> list[_Block]:
        path: list[_Block] = []
        parent = self._roots.get(whose, -1)
        for start in range(0, len(tokens) - BLOCK_TOKENS + 1, BLOCK_TOKENS):
            block = self._blocks.get((parent, tuple(tokens[start : start + BLOCK_TOKENS])))
            if block is None:
                break
            path.append(block)
            parent = block.number
        return path

    def _root(self, whose: Whose) -> int:
        if whose not in self._roots:
            self._roots[whose] = self._number()
        return self._roots[whose]

    def _number(self) -> int:
        self._next += 1
        return self._next

    def _add(self, key: Key, states: torch.Tensor) -> int:
        block = _Block(self._number(), key, states)
        self._blocks[key] = self._by_number[block.number] = block
        self.kept_bytes += states.numel() * states.element_size()
        self._children.setdefault(key[0], {})[block.number] = block
        return block.number

    def _make_room(self, needed: int, spared: set[int]) -> bool:
        """Drop the longest unused blocks that no kept one continues; false if that isn't enough."""
        if needed > self._limit:
            return False
        while self.kept_bytes + needed > self._limit:
            leaf = next(
                (b for b in self._blocks.values() if b.number not in self._children and b.number not in spared), None
            )
            if leaf is None:
                return False
            self._drop(leaf)
        return True

    def _drop(self, block: _Block) -> None:
        del self._blocks[block.key], self._by_number[block.number]
        self.kept_bytes -= block.states.numel() * block.states.element_size()
        siblings = self._children[block.key[0]]
        del siblings[block.number]
        if not siblings:
            del self._children[block.key[0]]


def shared_tokens(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first tokens two sequences have in common.

    >>> shared_tokens([1, 2, 3], [1, 2, 4, 5])
    2
    """
    pairs = zip(one, other, strict=False)
    return next((index for index, (mine, theirs) in enumerate(pairs) if mine != theirs), min(len(one), len(other)))
