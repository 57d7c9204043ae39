"""New facts need more than one voice: what nobody but its giver says is held back until somebody else says it too."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable

from feedback.curate.items import Item
from feedback.curate.looks import Looks
from feedback.curate.words import claims, content_words, gist, negations
from feedback.states import FeedbackKind

COPY_TOKENS = 40
"""Two texts of this length that are the same, word for word, have one author."""
_SAME_WORDS = 0.5
"""Share of content words (Jaccard) from which two corrections of one question say the same."""
_TELLING_FACT = 3
"""Content words from which key facts tell by themselves what is said; "14" and "yes" are said of many things."""
_SAME_SUBJECT, _SAME_SUBJECT_WORDS = 0.4, 3
"""So much (Jaccard), or so many words, of question and correction must be common for a fact to be the same one."""
_CHARACTERS = 1000
"""As much of a text as its subject is told by."""
_COMPARED = 50
"""With so many statements that have a word another one is compared: a flood of them costs no more."""


def lone_facts(items: Iterable[Item], looks: Looks, min_voices: int) -> set[int]:
    """The ids of corrections that teach something new, said by fewer than `min_voices` independent contributors."""
    corrections = [item for item in items if item.kind == FeedbackKind.CORRECTION]
    said: dict[Hashable, list[Item]] = defaultdict(list)
    for item in corrections:
        facts = frozenset(one.casefold() for one in item.key_facts)
        said[facts or (looks.asked[item.exchange.id].digest, claims(item.taught))].append(item)
    vouched: set[int] = set()
    for same in said.values():
        vouched |= _vouched(same, looks, min_voices)
    return {item.id for item in corrections if item.id not in vouched and not item.trusted and _is_new(item)}


def _vouched(said: list[Item], looks: Looks, min_voices: int) -> set[int]:
    """Of those that tell the same facts, or answer the same question: what enough people say."""
    if len(said) == 1:
        return {said[0].id} if min_voices <= 1 and said[0].contributor is not None else set()
    statements = _Statements(said[0])
    people: dict[int, set[str]] = defaultdict(set)
    texts: dict[int, set[str]] = defaultdict(set)
    trusted: set[int] = set()
    places: dict[int, int | None] = {}
    for item in sorted(said, key=lambda item: not _counts(item)):  # who doesn't count can only join
        place = places[item.id] = statements.place(item, join_only=not _counts(item))
        if place is not None and item.trusted:
            trusted.add(place)
        elif place is not None and item.contributor is not None:
            people[place].add(item.contributor)
            texts[place].add(_author(item, looks))
    heard = trusted | {place for place, who in people.items() if min(len(who), len(texts[place])) >= min_voices}
    return {number for number, place in places.items() if place in heard}


def _counts(item: Item) -> bool:
    return item.trusted or item.contributor is not None


class _Statements:
    """Corrections with one set of key facts, or on one question, told apart by their words."""

    def __init__(self, one: Item) -> None:
        facts = content_words(" ".join(one.key_facts))
        self._told_by_facts = len(facts) >= _TELLING_FACT
        self._short_facts = 0 < len(facts) < _TELLING_FACT
        self._known: dict[frozenset[str], int] = {}  # the statement that they belong to
        self._with: dict[str, list[frozenset[str]]] = defaultdict(list)

    def place(self, item: Item, *, join_only: bool) -> int | None:
        """The number of what it says; None if nobody who counts has said it, and it can only join."""
        if self._told_by_facts:
            return 0
        text = item.taught[:_CHARACTERS]
        words = content_words(f"{item.exchange.question[-_CHARACTERS:]} {text}" if self._short_facts else text)
        place = self._known.get(words)
        if place is None:
            place = self._like(words)
            if join_only:
                return place
            if place is not None:  # like the first who said so; not like anybody, or a chain would lead anywhere
                return place
            place = self._known[words] = len(self._known)
            for word in words:
                if len(self._with[word]) < _COMPARED:
                    self._with[word].append(words)
        return place

    def _like(self, words: frozenset[str]) -> int | None:
        common = Counter(other for word in words if word in self._with for other in self._with[word])
        alike = (self._known[other] for other, shared in common.items() if self._is_alike(shared, len(words | other)))
        return min(alike, default=None)

    def _is_alike(self, shared: int, together: int) -> bool:
        if self._short_facts:
            return shared >= _SAME_SUBJECT_WORDS or shared >= _SAME_SUBJECT * together
        return shared >= _SAME_WORDS * together


def _author(item: Item, looks: Looks) -> str:
    look = looks.taught(item)
    return f"text {look.digest}" if look.tokens >= COPY_TOKENS else str(item.contributor)


def _is_new(item: Item) -> bool:
    """Whether it says anything but what was replied: leaving out needs no witness, but for a "not"."""
    if item.key_facts or negations(item.taught) != negations(item.exchange.reply):
        return True
    left = iter(gist(item.exchange.reply).split())
    return not all(word in left for word in gist(item.taught).split())  # in the reply's order
