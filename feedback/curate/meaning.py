"""Duplicates in other words: training rows whose question and answer together mean nearly what an older row's do.

Static embeddings (model2vec): `pip install 'burnish[semantic]'`. They see what a text is about, not what it claims, so
two rows are compared only if their numbers, their key facts and their negations are the same. Held-out rows stay: they
are what users ask.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from feedback.curate.items import Item, oldest_first
from feedback.curate.looks import question_key
from feedback.curate.words import claims
from feedback.errors import InvalidInput
from feedback.states import Side

if TYPE_CHECKING:
    from model2vec import StaticModel

Vectors = NDArray[np.float32]
_CHARACTERS = 2000
"""As much of a row as its meaning is told by."""
_AT_ONCE = 1024


def in_other_words(items: Sequence[Item], similarity: float, model: str) -> dict[int, Item]:
    """By id of each item that only says again: the older one that it counts with.

    `similarity`: cosine from which two rows mean the same. `model`: a folder or hub id. Raises InvalidInput where the
    extra or the model is missing.
    """
    alike: dict[Hashable, list[Item]] = defaultdict(list)
    for item in items:
        if item.side == Side.TRAIN:
            alike[_told_apart(item)].append(item)
    groups = [sorted(some, key=oldest_first) for some in alike.values() if len(some) > 1]
    if not groups:
        return {}
    embed = _load(model)
    said_again: dict[int, Item] = {}
    for group in groups:
        vectors = embed.encode([_text(item) for item in group], normalize=True, use_multiprocessing=False)
        first = firsts(np.asarray(vectors, np.float32), similarity)
        said_again |= {item.id: group[place] for item, place in zip(group, first, strict=True) if group[place] != item}
    return said_again


def firsts(vectors: Vectors, similarity: float) -> list[int]:
    """For each of the unit `vectors`, in their order: the row that it repeats, which repeats none; or itself.

    >>> firsts(np.array([[1, 0], [0, 1], [0.96, 0.28], [0.6, 0.8]], np.float32), 0.9)
    [0, 1, 0, 3]
    """
    kept: list[int] = []
    found = list(range(len(vectors)))
    for start in range(0, len(vectors), _AT_ONCE):
        some = vectors[start : start + _AT_ONCE]
        before = vectors[kept] @ some.T  # (kept so far, some)
        among = some @ some.T
        new: list[int] = []  # of these, by their place among them
        for place in range(len(some)):
            close = np.concatenate([before[:, place], among[new, place]])
            nearest = int(close.argmax()) if len(close) else -1
            if nearest >= 0 and close[nearest] >= similarity:
                found[start + place] = kept[nearest] if nearest < len(kept) else start + new[nearest - len(kept)]
            else:
                new.append(place)
        kept += [start + place for place in new]
    return found


def _told_apart(item: Item) -> Hashable:
    """What an embedding can't tell apart."""
    text = _text(item)
    facts = frozenset(fact.casefold() for fact in item.key_facts)
    return item.kind, item.good, item.tie, facts, claims(text)


def _text(item: Item) -> str:
    rejected = item.rejected.reply if item.rejected else ""
    return f"{question_key(item.exchange.history)}\n{item.taught[:_CHARACTERS]}\n{rejected[:_CHARACTERS]}"


def _load(model: str) -> "StaticModel":
    try:
        from model2vec import StaticModel
    except ImportError as missing:
        raise InvalidInput(
            f"duplicates.semantic_similarity needs model2vec, and {missing.name} isn't installed: run "
            "`pip install 'burnish[semantic]'`, or set it to null."
        ) from missing
    try:
        return StaticModel.from_pretrained(model, force_download=False)
    except Exception as error:  # whatever its loader raises for what is no model, or out of reach
        raise InvalidInput(
            f"duplicates.semantic_model: '{model}' can't be loaded ({type(error).__name__}); name a folder with a "
            "model2vec model, or one on the hub that this machine reaches."
        ) from error
