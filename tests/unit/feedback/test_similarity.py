"""Prefix filtering finds exactly the pairs that comparing everything with everything finds."""

from itertools import combinations

from hypothesis import example, given
from hypothesis import strategies as st

from feedback.curate.items import normalise
from feedback.curate.similarity import clusters, jaccard, shingles, similar_pairs

VOCABULARY = ["the", "a", "big", "small", "tank", "tea", "pot", "red", "blue", "how", "is"]
WORDS = st.lists(st.sampled_from(VOCABULARY), max_size=8).map(" ".join)
TEXTS = st.lists(st.one_of(WORDS, st.text("ab c", max_size=14), st.text(max_size=8)), max_size=12)
THRESHOLDS = st.one_of(st.floats(0.05, 1), st.sampled_from([0.1, 0.25, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]))


def brute_force(texts: list[str], threshold: float) -> list[tuple[int, int]]:
    sets = [shingles(text) for text in texts]
    return [(i, j) for i, j in combinations(range(len(texts)), 2) if jaccard(sets[i], sets[j]) >= threshold]


@given(TEXTS, THRESHOLDS)
@example(["abcdefghi", "abcdefgh"], 0.8)  # 4 of 5 shingles: exactly the threshold
@example(["", "?", "a"], 1.0)
def test_similar_pairs_equal_brute_force(texts: list[str], threshold: float) -> None:
    found = list(similar_pairs(texts, threshold))
    assert sorted(found) == brute_force(texts, threshold)
    assert len(found) == len(set(found))


@given(TEXTS, THRESHOLDS)
def test_clusters_are_the_connected_components_named_by_their_first_text(texts: list[str], threshold: float) -> None:
    component = list(range(len(texts)))
    for one, other in brute_force(texts, threshold) * len(texts):  # relaxed until nothing moves
        component[one] = component[other] = min(component[one], component[other])
    assert clusters(texts, threshold) == component


@given(st.text(max_size=20))
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)
