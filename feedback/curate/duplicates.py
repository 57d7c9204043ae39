"""The same words on the same question count once, and if wished the same in other words; the row remembers everyone.

A dataset is made of everything that was ever said, so earlier datasets' rows are among what is compared. Never across
sides of the split: what one person holds back for judging isn't merged into another's training row.
"""

from collections import defaultdict
from collections.abc import Hashable
from copy import copy

from feedback.curate.items import Dropped, Item, oldest_first
from feedback.curate.looks import Looks
from feedback.curate.meaning import in_other_words
from feedback.curation_policies import DuplicatesPolicy
from feedback.states import FeedbackKind


def duplicates(
    items: list[Item], looks: Looks, clusters: dict[int, int], policy: DuplicatesPolicy
) -> tuple[list[Item], list[Dropped]]:
    """`clusters`: exchange → its near-duplicate cluster (see similarity). Of those that say the same the oldest stays
    that somebody stands behind.

    >>> from feedback.testing import item, look_at
    >>> said = [item(1, "How big?", contributor="ada"), item(2, "how big", contributor="bob")]
    >>> kept, dropped = duplicates(said, look_at(said), {1: 1, 2: 1}, DuplicatesPolicy())
    >>> [one.feedback_ids for one in kept], [out.id for out in dropped]
    ([(1, 2)], [2])
    """
    same: dict[Hashable, list[Item]] = defaultdict(list)
    for item in items:
        same[_words(item, looks, clusters)].append(item)
    kept: list[Item] = []
    dropped: list[Dropped] = []
    for said in same.values():
        first = min(said, key=_speaks_for_all) if len(said) > 1 else said[0]
        rest = sorted(number for item in said if item is not first for number in item.feedback_ids)
        people = {item.contributor for item in said if item.contributor is not None}
        kept.append(_with(first, rest, max(1, len(people))) if rest else first)
        dropped += [Dropped(number, "duplicates", "somebody said the same; it counts with theirs") for number in rest]
    if policy.semantic_similarity is not None:
        kept, more = _in_other_words(kept, policy.semantic_similarity, policy.semantic_model)
        dropped += more
    return kept, dropped


def _in_other_words(items: list[Item], similarity: float, model: str) -> tuple[list[Item], list[Dropped]]:
    reason = "somebody said the same in other words; it counts with theirs"
    said_again = in_other_words(items, similarity, model)
    more: dict[int, list[int]] = defaultdict(list)
    for item in items:
        if item.id in said_again:
            more[said_again[item.id].id] += item.feedback_ids
    kept = [_with(item, sorted(more[item.id]), item.voices) if item.id in more else item for item in items]
    # what had counted with it has its reason already, and goes on counting with the older one
    dropped = [Dropped(number, "duplicates", reason) for number in said_again]
    return [item for item in kept if item.id not in said_again], dropped


def _speaks_for_all(item: Item) -> tuple[bool, bool, float, int]:
    """Whoever has been vouched for, else somebody who stands behind it, else the oldest."""
    return not item.trusted, item.contributor is None, *oldest_first(item)


def _with(first: Item, rest: list[int], voices: int) -> Item:
    merged = copy(first)
    merged.merged = (*first.merged, *rest)
    merged.voices = voices
    return merged


def _words(item: Item, looks: Looks, clusters: dict[int, int]) -> Hashable:
    """Equal for items that teach the same: near questions of one gist, and the same words about them."""
    exchange = item.exchange
    if item.kind == FeedbackKind.RATING:  # most of them
        return (
            item.side,
            item.good,
            looks.subjects[exchange.id],
            clusters[exchange.id],
            looks.said[exchange.id].digest,
        )
    other = looks.said[item.rejected.id].digest if item.rejected else None
    asked = looks.subjects[exchange.id], clusters[exchange.id]
    return item.kind, item.side, item.good, item.tie, asked, looks.taught(item).digest, other, item.key_facts
