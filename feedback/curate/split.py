"""Train, dev and gate: who said it decides, for good; then whatever would leak is dropped, never merged across.

A contributor's side is fixed by hash. Anonymous items go by their near-duplicate cluster's oldest question; what was
held out once stays held out. A training question equal or nearly equal to a held-out one is dropped, and so is a dev
question near a gate one. Another person's own phrasing of a taught fact stays in the gate: that is what users ask next.
"""

import hashlib
from collections import defaultdict
from dataclasses import replace

from feedback.contributors import side_of
from feedback.curate.items import Dropped, Item, drop_where, normalise
from feedback.curate.looks import Looks
from feedback.policies import TrainingPolicy
from feedback.states import Side

_STRICTER = {
    Side.TRAIN: (Side.SEALED, Side.GATE, Side.DEV),
    Side.DEV: (Side.SEALED, Side.GATE),
    Side.GATE: (Side.SEALED,),
}


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
    >>> asked = item(2, "How big is the water tank then?", side=Side.GATE, contributor="bob")
    >>> kept, dropped = split([taught, asked], look_at([taught, asked]), 0.8)
    >>> [one.side.value for one in kept], dropped[0].reason
    (['gate'], 'nearly the same question is held out (gate), so training on it would leak')
    """
    asked: dict[Side | None, set[int]] = defaultdict(set)
    for item in items:
        asked[item.side].add(looks.asked[item.exchange.id].question)
    leaks: dict[tuple[Side | None, int], Side] = {}
    for side, stricter in _STRICTER.items():
        for held in stricter:
            for row in looks.questions.near_any(asked[side], asked[held], near):
                leaks.setdefault((side, row), held)

    def why(item: Item) -> str | None:
        if item.side == Side.SEALED:
            return "sealed: kept for audits, from every run"
        held = leaks.get((item.side, looks.asked[item.exchange.id].question))
        return f"nearly the same question is held out ({held}), so training on it would leak" if held else None

    return drop_where(items, "split", why)


def cluster_names(looks: Looks, rows: set[int]) -> dict[int, str]:
    """Near-duplicate clusters of these rows of `looks.questions`, named by their oldest: so they keep their names."""
    leaders = looks.clusters_among(rows)
    names = {
        row: hashlib.sha256(normalise(looks.questions.texts[row]).encode()).hexdigest()[:16]
        for row in set(leaders.values())
    }
    return {row: names[leader] for row, leader in leaders.items()}
