"""People contradict each other. Who is believed follows three rules; the datasheet prints them.

1. Of one person's words on one question, the latest counts.
2. A correction counts for more than ratings of the reply it corrects.
3. Between people, the side with `margin` times the other's trust is believed; else the side that spoke at least
   `recency_days` after the other's last word; else neither.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from itertools import combinations

from feedback.curate.items import Dropped, Item, drop_where, oldest_first
from feedback.curate.looks import Looks
from feedback.curate.trust import Standing
from feedback.curation_policies import ConflictPolicy
from feedback.key_facts import contains_facts
from feedback.states import FeedbackKind

DAY_SECONDS = 86_400
_OPERATOR_WEIGHT = 100.0
"""Of somebody who may decide: no crowd outvotes them."""


@dataclass(slots=True)
class _Side:
    """Everybody who says the same thing about one question."""

    facts: tuple[str, ...] = ()
    text: str = ""
    items: list[Item] = field(default_factory=list)
    voices: dict[str | int, float] = field(default_factory=dict)

    def add(self, item: Item, weight: float) -> None:
        self.items.append(item)
        self.text = max(self.text, item.taught, key=lambda text: (len(text), text))
        # an anonymous word is a voice of its own, of little weight
        self.voices[item.contributor or item.id] = weight

    @property
    def weight(self) -> float:
        return sum(sorted(self.voices.values()))

    @property
    def last_said(self) -> float:
        return max(item.created_at for item in self.items)


def conflicts(
    items: list[Item], looks: Looks, known: Standing, policy: ConflictPolicy
) -> tuple[list[Item], list[Dropped]]:
    """
    >>> from feedback.testing import item, look_at
    >>> red = item(1, "Which colour?", "None.", correction="It is red.", key_facts=("red",), contributor="ada")
    >>> blue = item(2, "Which colour?", "None.", correction="It is blue.", key_facts=("blue",), contributor="bob")
    >>> nobody = Standing({}, frozenset(), frozenset())
    >>> kept, dropped = conflicts([red, blue], look_at([red, blue]), nobody, ConflictPolicy())
    >>> kept, {out.reason for out in dropped}
    ([], {'people corrected this question to different facts'})
    """
    latest, outdated = _latest_words(items, looks)
    kept, overruled = _overruled_by_corrections(latest)
    against = _contradicted(kept, looks, known, policy)
    kept, contradicted = drop_where(kept, "conflicts", lambda item: against.get(item.id))
    return kept, outdated + overruled + contradicted


def _latest_words(items: list[Item], looks: Looks) -> tuple[list[Item], list[Dropped]]:
    """Per contributor: one correction a question, one rating a reply, one choice a pair."""
    newest: dict[tuple[str | None, Hashable], Item] = {}
    for item in items:
        if item.contributor is not None:
            subject = item.contributor, _subject(item, looks)
            if subject not in newest or oldest_first(newest[subject]) < oldest_first(item):
                newest[subject] = item

    def why(item: Item) -> str | None:
        if item.contributor is None or newest[item.contributor, _subject(item, looks)] is item:
            return None
        return "the same person said something newer about the same question"

    return drop_where(items, "conflicts", why)


def _overruled_by_corrections(items: list[Item]) -> tuple[list[Item], list[Dropped]]:
    corrected = {item.exchange.id for item in items if item.correction is not None}

    def why(item: Item) -> str | None:
        praised = item.kind == FeedbackKind.RATING and item.good and item.exchange.id in corrected
        return "the reply was corrected, which counts for more than praise" if praised and not item.trusted else None

    return drop_where(items, "conflicts", why)


def _subject(item: Item, looks: Looks) -> Hashable:
    """What two people can contradict each other on: a question's answer, a reply's worth, the better of two."""
    asked, said = looks.asked[item.exchange.id].digest, looks.said[item.exchange.id].digest
    if item.correction is not None:
        return "answer", asked
    if item.rejected is not None:
        other = looks.said[item.rejected.id].digest
        return "pair", asked, min(said, other), max(said, other)
    return asked, said


def _position(item: Item, looks: Looks) -> Hashable:
    """What is said on the subject."""
    if item.correction is not None:
        return tuple(sorted(fact.casefold() for fact in item.key_facts))
    if item.rejected is not None:
        return item.tie or looks.said[item.exchange.id].digest < looks.said[item.rejected.id].digest
    return item.good


def _contradicted(items: Iterable[Item], looks: Looks, known: Standing, policy: ConflictPolicy) -> dict[int, str]:
    """Reasons by the ids of those that aren't believed."""
    subjects: dict[Hashable, dict[Hashable, _Side]] = defaultdict(dict)
    for item in items:
        sides = subjects[_subject(item, looks)]
        side = sides.setdefault(_position(item, looks), _Side(item.key_facts))
        side.add(item, _OPERATOR_WEIGHT if item.trusted else known.weight(item))
    found: dict[int, str] = {}
    for sides in subjects.values():
        for one, other in combinations(sides.values(), 2):
            reason = _contradiction(one, other)
            if reason is not None:
                for side, opposed in ((one, other), (other, one)):
                    if not _wins(side, opposed, policy):
                        found |= {item.id: reason for item in side.items}
    return found


def _wins(one: _Side, other: _Side, policy: ConflictPolicy) -> bool:
    if one.weight >= policy.margin * other.weight or other.weight >= policy.margin * one.weight:
        return one.weight > other.weight
    return one.last_said - other.last_said >= policy.recency_days * DAY_SECONDS


def _contradiction(one: _Side, other: _Side) -> str | None:
    first = one.items[0]
    if first.rejected is not None:
        return "people chose differently between these replies"
    if first.correction is None:
        return "people rated this reply both good and bad"
    if not one.facts or not other.facts:
        return None
    agree = contains_facts(one.text, other.facts) or contains_facts(other.text, one.facts)
    return None if agree else "people corrected this question to different facts"
