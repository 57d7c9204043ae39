"""Texts that judge, found again in what would be taught: runs of 13 words, as in Brown et al. 2020, appendix C."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from feedback.curate.items import tidy
from feedback.curate.words import CJK

RUN_WORDS = 13
_CASE_WORDS = 200
"""Shorter evaluation texts are cases that somebody could ask."""


@dataclass(frozen=True)
class Evaluations:
    """Texts that judge: found again in others by their runs of words.

    >>> judged = Evaluations.of(["one two three four five six seven eight nine ten eleven twelve thirteen fourteen"])
    >>> judged.quoted_in("zero one two three four five six seven eight nine ten eleven twelve thirteen and on")
    True
    >>> judged.quoted_in("one two three four five six")
    False
    """

    cases: tuple[str, ...] = ()
    runs: frozenset[tuple[str, ...]] = frozenset()
    rare: frozenset[tuple[str, str]] = frozenset()  # of each run the two neighbours that are rarest
    rarely: frozenset[str] = frozenset()  # the first words of these

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Evaluations":
        texts = list(dict.fromkeys(texts))
        split = [_words(tidy(text)) for text in texts]
        common = Counter(pair for words in split for pair in pairwise(words))
        runs = {run for words in split for run in _runs(words)}
        rare = {min(pairwise(run), key=lambda pair: (-len(pair[0]), common[pair], pair)) for run in runs}
        cases = tuple(text for text, words in zip(texts, split, strict=True) if 0 < len(words) < _CASE_WORDS)
        return cls(cases, frozenset(runs), frozenset(rare), frozenset(first for first, _ in rare))

    def quoted_in(self, tidied: str) -> bool:
        """Whether a tidied text holds a run of an evaluation's."""
        words = _words(tidied)
        if self.rarely.isdisjoint(words) or self.rare.isdisjoint(pairwise(words)):
            return False
        return not self.runs.isdisjoint(_runs(words))


def _words(tidied: str) -> list[str]:
    """A Chinese or Japanese character is a word."""
    return (tidied if tidied.isascii() else CJK.sub(r" \1 ", tidied)).split()


def _runs(words: Sequence[str]) -> Iterable[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(RUN_WORDS)), strict=False)
