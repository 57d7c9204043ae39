"""Rows of tokens as one prefix tree: what begins alike is there once, and padding never.

A batch whose rows share a system prompt, or a pair that shares its prompt, has far fewer distinct tokens than tokens.
All that a layer does to a token alone is done once for each node; only attention looks at rows again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class PrefixTree:
    tokens: list[int]
    parents: list[int]
    positions: list[int]
    paths: list[list[int]]

    def of_first(self, rows: int) -> Self:
        """The tree of the first rows alone: its nodes are the first ones of this.

        >>> prefix_tree([[7, 8], [7, 9], [6]]).of_first(2).tokens
        [7, 8, 9]
        """
        paths = self.paths[:rows]
        tokens = max(path[-1] for path in paths) + 1
        return type(self)(self.tokens[:tokens], self.parents[:tokens], self.positions[:tokens], paths)


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


def ancestors_mask(parents: Sequence[int]) -> Tensor:
    """Which tokens a token sees: its ancestors and itself.

    >>> ancestors_mask([-1, 0, 0]).int().tolist()
    [[1, 0, 0], [1, 1, 0], [1, 0, 1]]
    """
    sees = torch.eye(len(parents), dtype=torch.bool)  # (T, T)
    for node, parent in enumerate(parents):
        if parent >= 0:
            sees[node] |= sees[parent]
    return sees


@dataclass(frozen=True)
class Rows:
    """Where a tree's nodes stand in padded rows (B, L), and where in them each node is first found."""

    nodes: Tensor  # (B, L); behind a row's end any node
    first: Tensor  # (T,), an index into B * L

    @classmethod
    def of(cls, tree: PrefixTree) -> Self:
        """
        >>> rows = Rows.of(prefix_tree([[7, 8, 9], [7, 8, 4, 5]]))
        >>> rows.nodes.tolist(), rows.first.tolist()
        ([[0, 1, 2, 0], [0, 1, 3, 4]], [0, 1, 2, 6, 7])
        """
        width = max(map(len, tree.paths))
        nodes = torch.zeros(len(tree.paths), width, dtype=torch.long)
        first = torch.full((len(tree.tokens),), -1, dtype=torch.long)
        for row, path in enumerate(tree.paths):
            nodes[row, : len(path)] = found = torch.tensor(path, dtype=torch.long)
            new = found[first[found] < 0]
            first[new] = row * width + torch.arange(len(path) - len(new), len(path))
        return cls(nodes, first)
