"""Train, dev and gate: who said it decides, for good; then whatever would leak is dropped, never merged across.

A contributor's side is fixed by hash. Anonymous items go by their near-duplicate prompt cluster. A training prompt
equal or nearly equal to a held-out one is dropped, and so is a dev prompt near a gate one. Another person's own
phrasing of a taught fact stays in the gate: that is what users ask next.
"""

import hashlib
from collections import defaultdict
from dataclasses import replace

from feedback.contributors import side_of
from feedback.curate.items import Dropped, Item, drop_where, normalise
from feedback.curate.similarity import clusters, similar_pairs
from feedback.policies import TrainingPolicy
from feedback.states import Side

_STRICTNESS = {Side.TRAIN: 0, Side.DEV: 1, Side.GATE: 2}


def split(items: list[Item], policy: TrainingPolicy) -> tuple[list[Item], list[Dropped]]:
    """
    >>> from feedback.testing import item
    >>> taught = item(1, "How big is the water tank?", side=Side.TRAIN)
    >>> asked = item(2, "How big is the water tank then?", side=Side.GATE, contributor="bob")
    >>> kept, dropped = split([taught, asked], TrainingPolicy())
    >>> [one.side.value for one in kept], dropped[0].reason
    (['gate'], 'nearly the same question is held out (gate), so training on it would leak')
    """
    items = _with_sides(items, policy)
    texts = [item.prompt_text for item in items]
    near: dict[int, Side] = defaultdict(lambda: Side.TRAIN)  # the strictest side among an item's near-duplicates
    for one, other in similar_pairs(texts, policy.near_duplicate_similarity):
        near[one] = max(near[one], _side(items[other]), key=_STRICTNESS.__getitem__)
        near[other] = max(near[other], _side(items[one]), key=_STRICTNESS.__getitem__)
    position = {id(item): index for index, item in enumerate(items)}

    def why(item: Item) -> str | None:
        strictest = near[position[id(item)]]
        if _STRICTNESS[strictest] > _STRICTNESS[_side(item)]:
            return f"nearly the same question is held out ({strictest}), so training on it would leak"
        return None

    kept, dropped = drop_where(items, "split", why)
    # what was dropped may have chained two sides into one cluster: those that are left are clustered among themselves
    return _clustered(kept, policy), dropped


def _with_sides(items: list[Item], policy: TrainingPolicy) -> list[Item]:
    return [
        replace(item, side=item.side or side_of(f"cluster:{item.cluster}", policy))
        for item in _clustered(items, policy)
    ]


def _clustered(items: list[Item], policy: TrainingPolicy) -> list[Item]:
    """Name each item's near-duplicate cluster by its earliest prompt, so that it keeps its name while it grows."""
    ordered = sorted(items, key=lambda item: (item.created_at, item.feedback_ids))
    leaders = clusters([item.prompt_text for item in ordered], policy.near_duplicate_similarity)
    names = [hashlib.sha256(normalise(item.prompt_text).encode()).hexdigest()[:16] for item in ordered]
    return [replace(item, cluster=names[leader]) for item, leader in zip(ordered, leaders, strict=True)]


def _side(item: Item) -> Side:
    assert item.side is not None
    return item.side
