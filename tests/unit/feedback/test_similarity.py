"""Signatures find the pairs that comparing everything with everything finds: all but one in ten thousand."""

from itertools import combinations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from feedback.curate.items import normalise
from feedback.curate.similarity import Questions, jaccard, leaders, shingles, signatures

VOCABULARY = ["the", "a", "big", "small", "tank", "tea", "pot", "red", "blue", "how", "is"]
WORDS = st.lists(st.sampled_from(VOCABULARY), max_size=8).map(" ".join)
TEXTS = st.lists(st.one_of(WORDS, st.text("ab c", max_size=14), st.text(max_size=8)), max_size=12)
THRESHOLDS = st.one_of(st.floats(0.05, 1), st.sampled_from([0.1, 0.25, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]))


def brute_force(texts: list[str], threshold: float) -> list[tuple[int, int]]:
    sets = [shingles(text) for text in texts]
    return [(i, j) for i, j in combinations(range(len(texts)), 2) if jaccard(sets[i], sets[j]) >= threshold]


def questions(texts: list[str]) -> Questions:
    return Questions(texts, signatures(texts))


def near_pairs(texts: list[str], threshold: float) -> set[tuple[int, int]]:
    return {(one, other) for one, other in questions(texts).near_pairs(threshold).tolist()}


@given(TEXTS, THRESHOLDS)
@example(["abcdefghi", "abcdefgh"], 0.8)  # 4 of 5 shingles: exactly the threshold
@example(["", "?", "a"], 1.0)
@settings(deadline=None)
def test_near_pairs_are_near_and_those_well_above_the_threshold_are_found(texts: list[str], threshold: float) -> None:
    found = near_pairs(texts, threshold)
    assert found <= set(brute_force(texts, max(threshold - 0.15, 0)))
    assert found >= set(brute_force(texts, min(threshold + 0.15, 1)))


@given(TEXTS, THRESHOLDS, st.data())
@settings(deadline=None)
def test_near_any_finds_what_near_pairs_finds_across_the_two_kinds(
    texts: list[str], threshold: float, data: st.DataObject
) -> None:
    held = {row for row in range(len(texts)) if data.draw(st.booleans())}
    wanted = set(range(len(texts))) - held
    expected = {row for pair in near_pairs(texts, threshold) for row in pair if row in wanted and held & set(pair)}
    assert questions(texts).near_any(wanted, held, threshold) == expected


def test_of_ten_thousand_near_pairs_hardly_one_is_missed() -> None:
    random = np.random.default_rng(0)
    words = np.array([f"{first}{second}" for first in "bdfgklmnprst" for second in ("a", "el", "io", "un", "ory")])
    texts = [" ".join(random.choice(words, 12)) for _ in range(5000)]
    texts += [f"{text[:-1]}{'xyz'[n % 3]}" for n, text in enumerate(texts)]
    near = {(n, n + 5000) for n in range(5000) if jaccard(shingles(texts[n]), shingles(texts[n + 5000])) >= 0.8}
    assert len(near) > 4000
    assert len(near - near_pairs(texts, 0.8)) <= 2


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_clusters_are_the_connected_components_named_by_their_first(pairs: list[tuple[int, int]]) -> None:
    component = list(range(10))
    for one, other in pairs * 10:  # relaxed until nothing moves
        component[one] = component[other] = min(component[one], component[other])
    assert leaders(np.array(pairs, np.int64), 10).tolist() == component


@given(st.text(max_size=20))
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


def test_near_copies_are_found_in_a_crowd_that_one_template_begins() -> None:
    random = np.random.default_rng(0)
    words = np.array([f"{first}{second}" for first in "bdfgklmnprst" for second in ("a", "el", "io", "un", "ory")])
    template = "You are a shop assistant. Answer politely and shortly what somebody asks about our products: "
    texts = [template + " ".join(random.choice(words, 8)) for _ in range(2000)]
    copies = [f"{text}!?{'xyz'[n % 3]}" for n, text in enumerate(texts[:1000])]
    found = questions(texts + copies).near_any(set(range(2000)), set(range(2000, 3000)), 0.9)
    near = {n for n in range(1000) if jaccard(shingles(texts[n]), shingles(copies[n])) >= 0.9}
    assert len(near) > 900
    assert len(near - found) <= len(near) / 100
