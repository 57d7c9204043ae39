"""Near-duplicate questions: MinHash signatures (rensa) of character 5-grams, candidates by banding.

Broder 1997, "On the resemblance of documents": the share of equal places in two signatures estimates the Jaccard
similarity of their gram sets. Indyk and Motwani 1998: texts that agree in all rows of a band are candidates; bands are
chosen such that a pair at the threshold is missed less than once in 10,000 times. Leaves out what nearness means.
"""

from collections.abc import Iterable, Iterator, Sequence, Set
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from feedback.curate.items import normalise

Signatures = NDArray[np.uint16]
"""(texts, PERMUTATIONS): the low 16 bits of each minimum, which tell two of them apart well enough."""
PERMUTATIONS = 128
_SEED = 42
_GRAM = 5
_MISSED = 1e-4
_DOUBT = 0.15
"""Where the estimate (its standard error is under 0.045) is so close to the threshold, the texts are compared."""
_NEIGHBOURS = 64
"""How many texts of its bucket, before it in their order, a text is compared with when pairs of any two are wanted."""


def shingles(text: str) -> frozenset[str]:
    """
    >>> sorted(shingles("Tea, pot"))
    ['a pot', 'ea po', 'tea p']
    """
    return frozenset(_grams(text))


def _grams(text: str) -> list[str]:
    plain = normalise(text)
    return [plain[start : start + _GRAM] for start in range(max(1, len(plain) - _GRAM + 1))]


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


def signatures(texts: Sequence[str]) -> Signatures:
    """
    >>> one, other, far = signatures(["How big is the tank?", "how big is the tank", "Do you ship abroad?"])
    >>> float((one == other).mean()), bool((one == far).mean() < 0.1)
    (1.0, True)
    """
    from rensa import RMinHash

    if not texts:
        return np.empty((0, PERMUTATIONS), np.uint16)
    rows = RMinHash.digests_from_token_sets([_grams(text) for text in texts], PERMUTATIONS, _SEED)
    return (np.array(rows, np.uint32) & 0xFFFF).astype(np.uint16)


class Questions:
    """Distinct texts and their signatures, row by row."""

    def __init__(self, texts: Sequence[str], signed: Signatures) -> None:
        self.texts = texts
        self.signed = signed  # (texts, PERMUTATIONS)
        self._known: dict[float, list[tuple[NDArray[np.int64], NDArray[np.int64]]]] = {}  # buckets by threshold
        self._pairs: dict[float, list[tuple[int, int]]] = {}

    def near_pairs(self, threshold: float) -> list[tuple[int, int]]:
        """Rows (i < j) that are at least `threshold` similar, sorted. In a crowd of near texts, not every pair of it.

        >>> texts = ["How big is the tank?", "Do you ship?", "how big is the tank!"]
        >>> Questions(texts, signatures(texts)).near_pairs(0.8)
        [(0, 2)]
        """
        if threshold not in self._pairs:
            count = max(len(self.texts), 1)
            codes = [np.empty(0, np.int64)]
            for rows, bucket in self._buckets(threshold):
                for lag in range(1, min(_NEIGHBOURS, len(rows) - 1) + 1):
                    same = bucket[lag:] == bucket[:-lag]
                    if not same.any():
                        break
                    one, other = rows[:-lag][same], rows[lag:][same]
                    codes.append(one * count + other)  # rows are sorted in their bucket
            pairs = np.stack(np.divmod(np.unique(np.concatenate(codes)), count), axis=1)
            self._pairs[threshold] = list(self._similar(pairs, threshold))
        return self._pairs[threshold]

    def near_any(self, wanted: set[int], held: Set[int], threshold: float) -> set[int]:
        """Those of the rows `wanted` that are at least `threshold` similar to one of the rows `held`, or one of them.

        >>> texts = ["How big is the tank?", "Do you ship?", "how big is the tank!"]
        >>> Questions(texts, signatures(texts)).near_any({0, 1}, {2}, 0.8)
        {0}
        """
        found = wanted & held
        for one, other in self.near_pairs(threshold):
            if one in wanted and other in held:
                found.add(one)
            if other in wanted and one in held:
                found.add(other)
        for crowd in self._crowds(threshold):  # where not every pair is known
            here = np.array([row for row in crowd if row in held], np.int64)
            for row in crowd if len(here) else ():
                if row in wanted and row not in found:
                    pairs = np.stack([np.full(len(here), row), here], axis=1)
                    if next(self._similar(pairs, threshold), None) is not None:
                        found.add(row)
        return found

    def _crowds(self, threshold: float) -> Iterator[list[int]]:
        for rows, bucket in self._buckets(threshold):
            edges = np.flatnonzero(np.diff(bucket)) + 1
            for start, end in pairwise([0, *edges.tolist(), len(bucket)]):
                if end - start > _NEIGHBOURS:
                    yield rows[start:end].tolist()

    def _buckets(self, threshold: float) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """For each band: the rows that share a bucket with another one, and which bucket, sorted by bucket and row."""
        if threshold not in self._known:
            height = rows_a_band(threshold)
            starts = range(0, PERMUTATIONS - height + 1, height)
            self._known[threshold] = [_shared(self.signed[:, start : start + height]) for start in starts]
        return self._known[threshold]

    def _similar(self, pairs: NDArray[np.int64], threshold: float) -> Iterator[tuple[int, int]]:
        for start in range(0, len(pairs), 4096):
            some = pairs[start : start + 4096]
            estimate = (self.signed[some[:, 0]] == self.signed[some[:, 1]]).mean(axis=1)
            for (one, other), likeness in zip(some.tolist(), estimate.tolist(), strict=True):
                if likeness >= threshold + _DOUBT or (
                    likeness >= threshold - _DOUBT and self._jaccard(one, other) >= threshold
                ):
                    yield one, other

    def _jaccard(self, one: int, other: int) -> float:
        return jaccard(_shingles(self.texts[one]), _shingles(self.texts[other]))


def clusters(pairs: Iterable[tuple[int, int]], count: int) -> list[int]:
    """For each of `count` texts the first text of its cluster: those that pairs join, chains too.

    >>> clusters([(0, 2), (2, 3)], 5)
    [0, 1, 0, 0, 4]
    """
    leader = list(range(count))

    def find(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    for one, other in pairs:
        first, second = sorted((find(one), find(other)))
        leader[second] = first
    return [find(index) for index in range(count)]


def rows_a_band(threshold: float) -> int:
    """The most rows a band may have for a pair at the threshold to be missed with less than _MISSED.

    >>> [rows_a_band(threshold) for threshold in (0.5, 0.8, 1.0)]
    [2, 5, 128]
    """
    fitting = (rows for rows in range(PERMUTATIONS, 1, -1) if (1 - threshold**rows) ** (PERMUTATIONS // rows) < _MISSED)
    return next(fitting, 1)


def _shared(band: Signatures) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows, buckets) of those that agree in all places of a band with another row."""
    keys = np.zeros(len(band), np.uint64)
    for place in band.T:
        keys = (
            keys * np.uint64(0x9E3779B97F4A7C15) + place.astype(np.uint64) + np.uint64(1)
        )  # two keys alike by chance are compared
    _, bucket, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    rows = np.flatnonzero(sizes[bucket] > 1)
    order = np.lexsort((rows, bucket[rows]))
    return rows[order], bucket[rows][order]


_shingles = lru_cache(256)(shingles)
