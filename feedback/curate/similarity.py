"""Near-duplicate texts: Jaccard similarity of character 5-grams, exact, by prefix filtering.

If two sets reach similarity t, they share an element among the rarest ⌊(1-t)·size⌋+1 of each
(Chaudhuri, Ganti, Kaushik 2006, "A primitive operator for similarity joins"): only those are indexed.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from feedback.curate.items import normalise

_GRAM = 5


def shingles(text: str) -> frozenset[str]:
    """
    >>> sorted(shingles("Tea, pot"))
    ['a pot', 'ea po', 'tea p']
    """
    plain = normalise(text)
    return frozenset(plain[start : start + _GRAM] for start in range(max(1, len(plain) - _GRAM + 1)))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


def similar_pairs(texts: Sequence[str], threshold: float) -> Iterator[tuple[int, int]]:
    """Index pairs (i < j) of texts at least `threshold` similar."""
    sets = [shingles(text) for text in texts]
    frequency = Counter(gram for grams in sets for gram in grams)
    index: dict[str, list[int]] = defaultdict(list)
    for current, grams in enumerate(sets):
        rarest = sorted(grams, key=lambda gram: (frequency[gram], gram))
        prefix = rarest[: int((1 - threshold) * len(grams) + 1e-9) + 1]
        candidates = {earlier for gram in prefix for earlier in index[gram]}
        for earlier in sorted(candidates):
            if jaccard(grams, sets[earlier]) >= threshold:
                yield earlier, current
        for gram in prefix:
            index[gram].append(current)


def clusters(texts: Sequence[str], threshold: float) -> list[int]:
    """For each text the index of the first text of its near-duplicate cluster (chains join).

    >>> clusters(["how big is the tank?", "Which colours are there?", "How big is the tank"], 0.8)
    [0, 1, 0]
    """
    leader = list(range(len(texts)))

    def find(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    for one, other in similar_pairs(texts, threshold):
        first, second = sorted((find(one), find(other)))
        leader[second] = first
    return [find(index) for index in range(len(texts))]
