"""Texts that judge, found again in what would be taught: runs of 13 words, as in Brown et al. 2020, appendix C."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from feedback.curate.items import tidy

RUN_WORDS = 13
_CASE_WORDS = 200
"""Shorter evaluation texts are cases that somebody could ask."""


@dataclass(frozen=True)
class Evaluations:
    """Texts that judge: found again in others by their runs of words.

    >>> judged = Evaluations.of(["one two three four five six seven eight nine ten eleven twelve thirteen fourteen"])
    >>> judged.quoted_in("zero one two three four five six seven eight nine ten eleven twelve thirteen and on".split())
    True
    >>> judged.quoted_in("one two three four five six".split())
    False
    """

    cases: tuple[str, ...] = ()
    runs: dict[str, frozenset[tuple[str, ...]]] = field(default_factory=dict)  # by their rarest word
    rare: frozenset[str] = frozenset()

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Evaluations":
        texts = list(dict.fromkeys(texts))
        split = [tidy(text).split() for text in texts]
        common = Counter(word for words in split for word in words)
        runs: dict[str, set[tuple[str, ...]]] = defaultdict(set)
        for words in split:
            for run in _runs(words):
                runs[min(run, key=lambda word: (-len(word), common[word], word))].add(run)
        cases = tuple(text for text, words in zip(texts, split, strict=True) if 0 < len(words) < _CASE_WORDS)
        return cls(cases, {word: frozenset(some) for word, some in runs.items()}, frozenset(runs))

    def quoted_in(self, words: Sequence[str]) -> bool:
        """Whether tidied `words` hold a run of an evaluation's."""
        if self.rare.isdisjoint(words):
            return False
        rare = self.rare.intersection(words)
        wanted = frozenset().union(*(self.runs[word] for word in rare))
        return any(run in wanted for run in _runs(words))


def _runs(words: Sequence[str]) -> Iterable[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(RUN_WORDS)), strict=False)
