"""What people ask about: questions in clusters by their words, each named by its commonest ones."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SAMPLE = 20_000
"""Questions that the clusters are made from; the others join the nearest."""
_WORDS = 4096
_WORD = r"(?u)(?<![\w@.])[^\W\d_]{2,}(?![\w@]|\.\w)"
"""The datasheet shows them, so what identifies somebody must be none."""
_QUESTIONS_A_TOPIC = 10
_NAMED_BY = 3
_CLEAR = 0.1
"""A word's mean weight from which a cluster is about it."""
OTHER = "other"
"""Clusters that are about nothing in particular."""
_CHARACTERS = 500
"""As much of a question as its topic is told by."""


def topics(texts: Sequence[str], most: int) -> tuple[list[str], NDArray[np.int64]]:
    """Names of at most `most` topics, and for each text the number of its own. The same texts give the same topics.

    A name's words are in at least five questions; what has digits or is part of an e-mail address is in none.

    >>> names, number = topics(["How big is the tank?"] * 20 + ["Do you ship abroad?"] * 20, 4)
    >>> sorted(names), len(set(number[:20])), len(set(number[20:]))
    (['abroad, ship', 'big, tank'], 1, 1)
    """
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.feature_extraction.text import TfidfVectorizer
    from threadpoolctl import threadpool_limits

    count = max(1, min(most, len(texts) // _QUESTIONS_A_TOPIC))
    if count == 1:
        return ["all"], np.zeros(len(texts), np.int64)
    starts = [text[-_CHARACTERS:] for text in texts]
    step = -(-len(starts) // _SAMPLE)
    words = TfidfVectorizer(
        max_features=_WORDS,
        min_df=5,
        stop_words="english",
        dtype=np.float32,
        sublinear_tf=True,
        token_pattern=_WORD,
    )
    try:
        sample = words.fit_transform(starts[::step])
    except ValueError:  # no word is in five questions
        return ["all"], np.zeros(len(texts), np.int64)
    with threadpool_limits(1):  # sums in another order would differ in their last digit
        found = MiniBatchKMeans(count, random_state=0, n_init=1, batch_size=2048).fit(sample)
        number = np.concatenate(
            [
                found.predict(words.transform(starts[start : start + _SAMPLE]))
                for start in range(0, len(starts), _SAMPLE)
            ]
        ).astype(np.int64)
    vocabulary = words.get_feature_names_out()
    used, number = np.unique(number, return_inverse=True)
    names = []
    for centre in found.cluster_centers_[used]:
        best = [int(place) for place in np.argsort(-centre, kind="stable")[:_NAMED_BY] if centre[place] > _CLEAR]
        names.append(", ".join(sorted(vocabulary[best])) or OTHER)
    return names, number
