"""Train, dev and gate: who said it decides, for good; then whatever would leak is dropped, never merged across.

A contributor's side is fixed by hash. Anonymous items go by their near-duplicate cluster's oldest question; what was
held out once stays held out. A training question equal or nearly equal to a held-out one is dropped, and so is a dev
question near a gate one. Another person's own phrasing of a taught fact stays in the gate: that is what users ask next.

Only what judges holds a question out: corrections and choices. A rating judges nothing, so a held-out person's thumb
takes no question away from training; it goes itself where its question is trained on.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from feedback.contributors import side_of
from feedback.curate.items import Dropped, Item, drop_where, normalise
from feedback.curate.looks import Looks
from feedback.policies import TrainingPolicy
from feedback.states import FeedbackKind, Side

_STRICTER = {Side.TRAIN: (Side.SEALED, Side.GATE, Side.DEV), Side.DEV: (Side.SEALED, Side.GATE)}
"""A gate row that is nearly sealed stays: it isn't learned, and what judges shall only grow."""


def with_sides(items: list[Item], looks: Looks, policy: TrainingPolicy) -> list[Item]:
    """Anonymous items get the side of the oldest question of their cluster."""
    names = cluster_names(looks, {looks.asked[item.exchange.id].question for item in items})

    def side(item: Item) -> Side:
        return side_of(f"cluster:{names[looks.asked[item.exchange.id].question]}", policy)

    return [item if item.side else replace(item, side=side(item)) for item in items]


def split(items: list[Item], looks: Looks, near: float) -> tuple[list[Item], list[Dropped]]:
    """Drop what is nearly held out; `near` is the similarity from which two questions are one.

    >>> from feedback.testing import item, look_at
    >>> taught = item(1, "How big is the water tank?", side=Side.TRAIN)
    >>> asked = item(2, "How big is the water tank then?", side=Side.GATE, contributor="bob", correction="5 l.")
    >>> kept, dropped = split([taught, asked], look_at([taught, asked]), 0.8)
    >>> [one.side.value for one in kept], dropped[0].reason
    (['gate'], 'nearly the same question is held out (gate), so training on it would leak')
    """
    judging = [item for item in items if item.side == Side.SEALED or _judges(item)]
    leaks = _leaks(items, judging, looks, near, _STRICTER)

    def why(item: Item) -> str | None:
        if item.side == Side.SEALED:
            return "sealed: kept for audits, from every run"
        held = _held(item, leaks, looks)
        return f"nearly the same question is held out ({held}), so training on it would leak" if held else None

    kept, dropped = drop_where(items, "split", why)
    weak = [item for item in kept if not _judges(item)]
    taught = _leaks(weak, kept, looks, near, {Side.GATE: (Side.TRAIN, Side.DEV), Side.DEV: (Side.TRAIN,)})

    def why_weak(item: Item) -> str | None:
        other = None if _judges(item) else _held(item, taught, looks)
        return f"a rating of what is learned elsewhere ({other}) judges nothing" if other else None

    kept, more = drop_where(kept, "split", why_weak)
    return kept, dropped + more


def _judges(item: Item) -> bool:
    return item.kind != FeedbackKind.RATING and item.tie is None


Leaks = dict[tuple[Side | None, int], Side]
"""By side and question: the other side that has nearly the same one."""


def _leaks(
    items: Iterable[Item], others: Iterable[Item], looks: Looks, near: float, sides: Mapping[Side, tuple[Side, ...]]
) -> Leaks:
    found: Leaks = {}
    asked, held = _asked(items, looks), _asked(others, looks)
    for side, against in sides.items():
        for other in against:
            for row in looks.questions.near_any(asked[side], held[other], near):
                found.setdefault((side, row), other)
    return found


def _asked(items: Iterable[Item], looks: Looks) -> dict[Side | None, set[int]]:
    rows: dict[Side | None, set[int]] = defaultdict(set)
    for item in items:
        rows[item.side].update(looks.questions_of(item))
    return rows


def _held(item: Item, leaks: Leaks, looks: Looks) -> Side | None:
    return next((leaks[item.side, row] for row in looks.questions_of(item) if (item.side, row) in leaks), None)


def cluster_names(looks: Looks, rows: set[int]) -> dict[int, str]:
    """Near-duplicate clusters of these rows of `looks.questions`, named by their oldest: so they keep their names."""
    leaders = looks.clusters_among(rows)
    names = {
        row: hashlib.sha256(normalise(looks.questions.texts[row]).encode()).hexdigest()[:16]
        for row in set(leaders.values())
    }
    return {row: names[leader] for row, leader in leaders.items()}
