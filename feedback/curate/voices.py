"""New facts need more than one voice: what nobody but its giver says is held back until somebody else says it too."""

from collections import defaultdict
from collections.abc import Hashable, Iterable

from feedback.curate.items import Item
from feedback.curate.looks import Looks
from feedback.curate.words import content_words
from feedback.states import FeedbackKind

COPY_TOKENS = 40
"""Two texts of this length that are the same, word for word, have one author."""
_SAME_WORDS = 0.5
"""Share of content words (Jaccard) from which two corrections of one question say the same."""


def lone_facts(items: Iterable[Item], looks: Looks, min_voices: int) -> set[int]:
    """The ids of corrections that teach something new, said by fewer than `min_voices` independent contributors."""
    corrections = [item for item in items if item.kind == FeedbackKind.CORRECTION]
    voices: dict[Hashable, set[str]] = defaultdict(set)
    trusted: set[Hashable] = set()
    statements: dict[int, list[Hashable]] = {}
    by_question: dict[int, list[tuple[Item, frozenset[str]]]] = defaultdict(list)
    for item in corrections:
        if item.key_facts:
            fact = frozenset(one.casefold() for one in item.key_facts)
            statements[item.id] = [fact]
        else:
            by_question[looks.asked[item.exchange.id].digest].append((item, content_words(item.taught)))
    for said in by_question.values():
        groups: list[frozenset[str]] = []  # the first correction's words of each statement on this question
        for item, words in said:
            place = next((n for n, other in enumerate(groups) if _alike(words, other)), None)
            if place is None:
                place = len(groups)
                groups.append(words)
            statements[item.id] = [(looks.asked[item.exchange.id].digest, place)]
    for item in corrections:
        for statement in statements[item.id]:
            if item.trusted:
                trusted.add(statement)
            elif item.contributor is not None:
                voices[statement].add(_voice(item, looks))
    return {
        item.id
        for item in corrections
        if not item.trusted
        and not any(one in trusted or len(voices[one]) >= min_voices for one in statements[item.id])
        and _is_new(item)
    }


def _voice(item: Item, looks: Looks) -> str:
    look = looks.taught(item)
    return f"text {look.digest}" if look.tokens >= COPY_TOKENS else str(item.contributor)


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one & other) >= _SAME_WORDS * len(one | other)


def _is_new(item: Item) -> bool:
    """Whether it says anything that was neither asked nor replied: leaving out or turning round needs no witness."""
    if item.key_facts:
        return True
    return not content_words(item.taught) <= content_words(f"{item.exchange.question} {item.exchange.reply}")
