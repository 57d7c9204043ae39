"""People contradict each other. Who is believed follows three rules; the datasheet prints them.

1. Of one person's words on one question, the latest counts.
2. A correction counts for more than praise of the reply it corrects: for as much as `CORRECTION_VALUE` times it.
3. Between people, the side with `margin` times the other's trust is believed; else the side that spoke at least
   `recency_days` after the other's last word; else neither.

Anonymous people may be one: what they say counts once, however many they are.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from math import inf

import numpy as np

from feedback.curate.items import Dropped, Item, drop_where
from feedback.curate.looks import Looks
from feedback.curate.trust import Standing
from feedback.curate.words import claims, content_words, negations
from feedback.curation_policies import ConflictPolicy
from feedback.key_facts import contains_facts
from feedback.states import FeedbackKind

DAY_SECONDS = 86_400
CORRECTION_VALUE = 5
"""Who writes what is right has looked closer than who clicks."""
_OPERATOR_WEIGHT = 100.0
"""Of somebody who may decide: no crowd outvotes them."""


class _Side:
    """Everybody who says the same thing about one question; nobody says it twice, see `_latest_words`."""

    __slots__ = ("anonymous", "facts", "items", "last_said", "text", "weight")

    def __init__(self, facts: tuple[str, ...]) -> None:
        self.facts = facts
        self.text = ""
        self.items: list[Item] = []
        self.weight = 0.0
        self.anonymous = 0.0  # of the weight
        self.last_said = -inf

    def add(self, item: Item, weight: float) -> None:
        self.items.append(item)
        self.weight += weight
        if item.contributor is None and not item.trusted:
            self.weight -= self.anonymous
            self.anonymous = weight
        self.last_said = max(self.last_said, item.created_at)
        if item.correction is not None:
            self.text = max(self.text, item.correction, key=lambda text: (len(text), text))


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
    subjects = _Subjects(looks)
    latest, outdated = _latest_words(items, subjects)
    kept, overruled = _corrections_against_praise(latest, known)
    against = _contradicted(kept, subjects, looks, known, policy)
    kept, contradicted = drop_where(kept, "conflicts", lambda item: against.get(item.id))
    return kept, outdated + overruled + contradicted


class _Subjects:
    """What people can contradict each other on, as a number: a question's answer, a reply's worth, which is better."""

    def __init__(self, looks: Looks) -> None:
        self._looks = looks
        self._numbers: dict[Hashable, int] = {}
        self._replies: dict[int, int] = {}  # by exchange: most of what is said are ratings

    def of(self, item: Item) -> int:
        exchange = item.exchange.id
        if item.kind == FeedbackKind.RATING:
            if exchange not in self._replies:
                self._replies[exchange] = self._number(
                    (self._looks.subjects[exchange], self._looks.said[exchange].digest)
                )
            return self._replies[exchange]
        asked, said = self._looks.subjects[exchange], self._looks.said[exchange].digest
        if item.rejected is None:
            return self._number(("answer", asked))
        other = self._looks.said[item.rejected.id].digest
        return self._number(("pair", asked, min(said, other), max(said, other)))

    def _number(self, subject: Hashable) -> int:
        return self._numbers.setdefault(subject, len(self._numbers))


def _latest_words(items: list[Item], subjects: _Subjects) -> tuple[list[Item], list[Dropped]]:
    """Per contributor: one correction a question, one rating a reply, one choice a pair."""
    people: dict[str, int] = {}
    said = [item for item in items if item.contributor is not None]
    who = np.array([people.setdefault(str(item.contributor), len(people)) for item in said], np.int64)
    about = np.array([subjects.of(item) for item in said], np.int64)
    ids, when = np.array([item.id for item in said], np.int64), np.array([item.created_at for item in said])
    order = np.lexsort((ids, when, about, who))
    word = (who * (int(about.max(initial=0)) + 1) + about)[order]
    outdated = set(ids[order[:-1][word[:-1] == word[1:]]].tolist())  # the next one is newer
    reason = "the same person said something newer about the same question"
    return drop_where(items, "conflicts", lambda item: reason if item.id in outdated else None)


def _corrections_against_praise(items: list[Item], known: Standing) -> tuple[list[Item], list[Dropped]]:
    corrected: dict[int, _Side] = {}
    praised: dict[int, _Side] = {}
    for item in items:
        if item.correction is not None:
            corrected.setdefault(item.exchange.id, _Side(())).add(item, _weight(item, known))
    for item in items if corrected else ():
        if _is_praise(item) and item.exchange.id in corrected:
            if item.exchange.id not in praised:
                praised[item.exchange.id] = _Side(())
            praised[item.exchange.id].add(item, _weight(item, known))
    upheld = {reply for reply, side in praised.items() if side.weight > CORRECTION_VALUE * corrected[reply].weight}

    def why(item: Item) -> str | None:
        if item.exchange.id not in praised or item.trusted:
            return None
        if item.correction is not None and item.exchange.id in upheld:
            return f"more than {CORRECTION_VALUE} times as much trust praised the reply that it corrects"
        if _is_praise(item) and item.exchange.id not in upheld:
            return "the reply was corrected, which counts for more than praise"
        return None

    return drop_where(items, "conflicts", why)


def _is_praise(item: Item) -> bool:
    return item.kind == FeedbackKind.RATING and item.good


def _weight(item: Item, known: Standing) -> float:
    return _OPERATOR_WEIGHT if item.trusted else known.weight(item)


def _position(item: Item, looks: Looks) -> Hashable:
    """What is said on the subject."""
    if item.correction is not None:
        return tuple(sorted(fact.casefold() for fact in item.key_facts)) or claims(item.correction)
    if item.rejected is not None:
        return item.tie or looks.said[item.exchange.id].digest < looks.said[item.rejected.id].digest
    return item.good


def _contradicted(
    items: Iterable[Item], subjects: _Subjects, looks: Looks, known: Standing, policy: ConflictPolicy
) -> dict[int, str]:
    """Reasons by the ids of those that aren't believed."""
    spoken_of: dict[int, list[Item]] = defaultdict(list)
    for item in items:
        spoken_of[subjects.of(item)].append(item)
    found: dict[int, str] = {}
    for said in spoken_of.values():
        positions = [_position(item, looks) for item in said] if len(said) > 1 else []
        if len(set(positions)) < 2:
            continue
        sides: dict[Hashable, _Side] = {}
        for item, position in zip(said, positions, strict=True):
            if position not in sides:
                sides[position] = _Side(item.key_facts)
            sides[position].add(item, _weight(item, known))
        strongest = sorted(sides.values(), key=lambda side: -side.weight)  # they beat the most: one defeat is enough
        for one in strongest:
            lost = (
                _contradiction(one, other) for other in strongest if other is not one and not _wins(one, other, policy)
            )
            reason = next(filter(None, lost), None)
            if reason is not None:
                found |= {item.id: reason for item in one.items}
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
    if one.facts and other.facts:
        mentioned = contains_facts(one.text, other.facts) or contains_facts(other.text, one.facts)
        agree = mentioned and negations(one.text) == negations(other.text)
    else:
        agree = claims(one.text) == claims(other.text) or not _are_alike(one.text, other.text)
    return None if agree else "people corrected this question to different facts"


def _are_alike(one: str, other: str) -> bool:
    """Whether two texts say something in the same words, be it the opposite."""
    words, others = (content_words(text) - claims(text)[0] for text in (one, other))
    return 2 * len(words & others) >= len(words | others)
