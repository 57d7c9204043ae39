"""Near-duplicate questions: MinHash signatures (rensa) of character 5-grams, candidates by banding.

Broder 1997, "On the resemblance of documents": the share of equal places in two signatures estimates the Jaccard
similarity of their gram sets. Indyk and Motwani 1998: texts that agree in all rows of a band are candidates; bands are
chosen such that a pair at the threshold is missed less than once in 10,000 times. Leaves out what nearness means.
"""

from array import array
from collections.abc import Iterator, Sequence, Set
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from feedback.curate.items import normalise

Signatures = NDArray[np.uint16]
"""(texts, PERMUTATIONS): the low 16 bits of each minimum, which tell two of them apart well enough."""
Rows = NDArray[np.int64]
PERMUTATIONS = 128
_SEED = 42
_GRAM = 5
_MISSED = 1e-4
_DOUBT = 0.13
"""Where the estimate (its standard error is 0.035 at 0.8) is so close to the threshold, the texts are compared."""
_NEIGHBOURS = 8
"""In a crowd, which shares a band and so may be all that one app's template begins, a text is compared with so many
on each side of it; the crowd is sorted such that those who share more are closer together, in each band otherwise."""
_SORTED_BY = 16
_ODD = np.uint64(0x9E3779B97F4A7C15)
_AT_ONCE = 4096
_HASH_BITS = 30
"""Two of a pair's some hundred shingles are taken for one less than once in 10,000 pairs."""


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
        self._near: dict[float, tuple[Rows, list[Rows]]] = {}  # by threshold: pairs, crowds

    def near_pairs(self, threshold: float) -> Rows:
        """(pairs, 2): rows i < j that are at least `threshold` similar, sorted. In a crowd, not every pair of it.

        >>> texts = ["How big is the tank?", "Do you ship?", "how big is the tank!"]
        >>> Questions(texts, signatures(texts)).near_pairs(0.8).tolist()
        [[0, 2]]
        """
        return self._pairs_and_crowds(threshold)[0]

    def near_any(self, wanted: Set[int], held: Set[int], threshold: float) -> set[int]:
        """Those of the rows `wanted` that are at least `threshold` similar to one of the rows `held`, or one of them.

        >>> texts = ["How big is the tank?", "Do you ship?", "how big is the tank!"]
        >>> Questions(texts, signatures(texts)).near_any({0, 1}, {2}, 0.8)
        {0}
        """
        pairs, crowds = self._pairs_and_crowds(threshold)
        is_wanted, is_held = self._marked(wanted), self._marked(held)
        found = is_wanted & is_held
        for one, other in (pairs.T, pairs.T[::-1]):
            found[one[is_wanted[one] & is_held[other]]] = True
        more = [np.empty((0, 2), np.int64)]
        for crowd in crowds:  # of which not every pair is known
            holding, asking = np.flatnonzero(is_held[crowd]), np.flatnonzero((is_wanted & ~found)[crowd])
            others = np.searchsorted(holding, asking)[:, None] + np.arange(-_NEIGHBOURS, _NEIGHBOURS)
            one, place = np.nonzero((others >= 0) & (others < len(holding)))
            more.append(np.stack([crowd[asking[one]], crowd[holding[others[one, place]]]], axis=1))
        found[self._similar(np.unique(np.concatenate(more), axis=0), threshold)[:, 0]] = True
        return set(np.flatnonzero(found).tolist())

    def _marked(self, rows: Set[int]) -> NDArray[np.bool_]:
        marked = np.zeros(len(self.texts), bool)
        marked[list(rows)] = True
        return marked

    def _pairs_and_crowds(self, threshold: float) -> tuple[Rows, list[Rows]]:
        if threshold not in self._near:
            count = max(len(self.texts), 1)
            codes = np.empty(0, np.int64)
            crowds = []
            for rows, bucket in self._buckets(threshold):
                found = [codes]
                for lag in range(1, min(_NEIGHBOURS, len(rows) - 1) + 1):
                    same = bucket[lag:] == bucket[:-lag]
                    if not same.any():
                        break
                    one, other = rows[:-lag][same], rows[lag:][same]
                    found.append(np.minimum(one, other) * count + np.maximum(one, other))
                codes = np.sort(np.concatenate(found))
                codes = codes[np.diff(codes, prepend=-1) > 0]
                edges = [0, *(np.flatnonzero(np.diff(bucket)) + 1).tolist(), len(bucket)]
                crowds += [rows[start:end] for start, end in pairwise(edges) if end - start > _NEIGHBOURS + 1]
            self._near[threshold] = self._similar(np.stack(np.divmod(codes, count), axis=1), threshold), crowds
        return self._near[threshold]

    def _buckets(self, threshold: float) -> Iterator[tuple[Rows, Rows]]:
        """For each band: the rows that share a bucket with another one, and which bucket, sorted by bucket.

        In a bucket they are sorted by the places that follow the band's: Bawa et al. 2005, "LSH forest".
        """
        height = rows_a_band(threshold)
        for start in range(0, PERMUTATIONS - height + 1, height):
            keys = _keys(self.signed[:, start : start + height])
            _, bucket, sizes = np.unique(keys, return_inverse=True, return_counts=True)
            rows = np.flatnonzero(sizes[bucket] > 1)
            after = (np.arange(_SORTED_BY) + start + height) % PERMUTATIONS
            followed_by = [_packed(self.signed[rows][:, four]) for four in np.split(after, _SORTED_BY // 4)]
            order = np.lexsort((rows, *followed_by[::-1], bucket[rows]))
            yield rows[order], bucket[rows][order]

    def _similar(self, pairs: Rows, threshold: float) -> Rows:
        """Those of the pairs that are."""
        estimates = [(self.signed[one] == self.signed[other]).mean(axis=1) for one, other in _portions(pairs)]
        estimate = np.concatenate([np.empty(0), *estimates])
        near = estimate >= threshold + _DOUBT
        doubtful = np.flatnonzero((estimate >= threshold - _DOUBT) & ~near)
        near[doubtful] = self._jaccard(pairs[doubtful]) >= threshold
        return pairs[near]

    def _jaccard(self, pairs: Rows) -> NDArray[np.float64]:
        """Of each pair's texts, exactly."""
        from scipy.sparse import csr_array

        rows, places = np.unique(pairs, return_inverse=True)
        grams, starts = array("i"), np.zeros(len(rows) + 1, np.int32)
        for place, row in enumerate(rows.tolist(), 1):
            grams.frombytes(_hashed(self.texts[row]).tobytes())
            starts[place] = len(grams)
        sizes, columns = np.diff(starts), np.array(grams, np.int32, copy=False)
        has = csr_array((np.ones(len(columns), np.int8), columns, starts), shape=(len(rows), 2**_HASH_BITS))
        found = [np.empty(0)]
        for one, other in _portions(places.reshape(pairs.shape)):
            shared = has[one].multiply(has[other]).sum(axis=1)
            found.append(shared / (sizes[one] + sizes[other] - shared))
        return np.concatenate(found)


def _portions(pairs: Rows) -> Iterator[tuple[Rows, Rows]]:
    for start in range(0, len(pairs), _AT_ONCE):
        yield pairs[start : start + _AT_ONCE, 0], pairs[start : start + _AT_ONCE, 1]


def leaders(pairs: Rows, count: int) -> Rows:
    """For each of `count` rows the first row of its cluster: those that pairs join, chains too.

    >>> leaders(np.array([[0, 2], [2, 3]]), 5).tolist()
    [0, 1, 0, 0, 4]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    one, other = pairs.reshape(-1, 2).T
    graph = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    _, first = np.unique(component, return_index=True)
    return np.asarray(first[component], np.int64)


def rows_a_band(threshold: float) -> int:
    """The most rows a band may have for a pair at the threshold to be missed with less than _MISSED.

    >>> [rows_a_band(threshold) for threshold in (0.5, 0.8, 1.0)]
    [2, 5, 128]
    """
    fitting = (rows for rows in range(PERMUTATIONS, 1, -1) if (1 - threshold**rows) ** (PERMUTATIONS // rows) < _MISSED)
    return next(fitting, 1)


def _packed(places: Signatures) -> NDArray[np.uint64]:
    """(texts, 4) as one number each, in their order."""
    return np.ascontiguousarray(places.astype(">u2")).view(">u8").ravel().astype(np.uint64)


def _keys(band: Signatures) -> NDArray[np.uint64]:
    """Equal for texts that agree in all places of a band; two keys alike by chance are compared."""
    keys = np.zeros(len(band), np.uint64)
    for place in band.T:
        keys = keys * _ODD + place.astype(np.uint64) + np.uint64(1)
    return keys


def _hashed(text: str) -> NDArray[np.int32]:
    """Its shingles as sorted numbers of _HASH_BITS."""
    plain = normalise(text).ljust(_GRAM, "\0").encode("utf-32-le", "surrogatepass")
    letters = np.frombuffer(plain, "<u4").astype(np.uint64)
    count = len(letters) - _GRAM + 1
    mixed = np.zeros(count, np.uint64)
    for place in range(_GRAM):
        mixed = (mixed + letters[place : place + count]) * _ODD
        mixed ^= mixed >> np.uint64(32)
    return np.unique((mixed * _ODD >> np.uint64(64 - _HASH_BITS)).astype(np.int32))
