"""What people ask about: questions in clusters by their words, each named by its commonest ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE = 20_000
"""Questions that the clusters are made from, at most; all join the nearest."""
_WORDS = 4096
_WORD = r"(?u)(?<![\w@.])[^\W\d_]{2,}(?![\w@]|\.\w)"
"""The datasheet shows them, so what identifies somebody must be none."""
_QUESTIONS_A_TOPIC = 10
_NAMED_BY = 3
_CLEAR = 0.1
"""A word's mean weight from which a cluster is about it."""
OTHER = "other"
"""Clusters that are about nothing in particular."""
ALL = "all"
_CHARACTERS = 500
"""As much of a question as its topic is told by."""


@dataclass(frozen=True)
class Topics:
    """Clusters that questions join: spherical enough that a dot product with the centre finds the nearest."""

    names: list[str]
    vocabulary: dict[str, int]
    idf: NDArray[np.float32]  # (words,)
    centres: NDArray[np.float32]  # (topics, words)

    @classmethod
    def among(cls, texts: Sequence[str], most: int) -> "Topics":
        """At most `most` topics. The same texts give the same ones.

        A name's words are in at least five questions, so that none is only one person's; what has digits or is part of
        an e-mail address is in none.

        >>> found = Topics.among(["How big is the tank?"] * 20 + ["Do you ship abroad?"] * 20, 4)
        >>> found.of(["You ship?", "Which tank is big?"])
        ['abroad, ship', 'big, tank']
        """
        from sklearn.cluster import MiniBatchKMeans
        from threadpoolctl import threadpool_limits

        count = max(1, min(most, len(texts) // _QUESTIONS_A_TOPIC))
        if count == 1:
            return ONE
        words = _vectorizer(max_features=_WORDS, min_df=5)
        try:
            counted = words.fit_transform([text[-_CHARACTERS:] for text in texts])
        except ValueError:  # no word is in five questions
            return ONE
        with threadpool_limits(1):  # sums in another order would differ in their last digit
            centres = MiniBatchKMeans(count, random_state=0, n_init=1, batch_size=2048).fit(counted).cluster_centers_
        vocabulary = words.get_feature_names_out()
        names = []
        for centre in centres:
            best = [int(place) for place in np.argsort(-centre, kind="stable")[:_NAMED_BY] if centre[place] > _CLEAR]
            names.append(", ".join(sorted(vocabulary[best])) or OTHER)
        return cls(names, {word: place for place, word in enumerate(vocabulary.tolist())}, words.idf_, centres)

    def of(self, texts: Sequence[str]) -> list[str]:
        """The name of each text's topic."""
        if len(self.names) == 1 or not texts:
            return self.names[:1] * len(texts)
        words = _vectorizer(vocabulary=self.vocabulary)
        words.idf_ = self.idf
        counted = words.transform([text[-_CHARACTERS:] for text in texts])
        # |x - c|² is least where this is; x is the same for all centres
        far = (self.centres**2).sum(axis=1) - 2 * (counted @ self.centres.T)
        return [self.names[place] for place in far.argmin(axis=1).tolist()]


ONE = Topics([ALL], {}, np.empty(0, np.float32), np.empty((1, 0), np.float32))


def sample(texts: Sequence[str]) -> Sequence[str]:
    """Every so many-th of them."""
    return texts[:: max(1, -(-len(texts) // SAMPLE))]


def _vectorizer(**words: object):  # type: ignore[no-untyped-def]  # scikit-learn has no types
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(**words, stop_words="english", dtype=np.float32, sublinear_tf=True, token_pattern=_WORD)
