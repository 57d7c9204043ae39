"""Not too much of one thing: training rows are capped by question, topic, language, length and label.

Held-out rows stay: they are what users ask. The datasheet shows each share before and after.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from hashlib import blake2b

from feedback.curate.items import Dropped, Item, drop_where
from feedback.curate.looks import Looks
from feedback.curate.topics import OTHER
from feedback.curation_policies import BalancePolicy
from feedback.states import FeedbackKind, Side

Group = Callable[[Item], Hashable]
Topic = Callable[[Item], str]
_VALUE = {FeedbackKind.CORRECTION: 0, FeedbackKind.PREFERENCE: 1, FeedbackKind.RATING: 2}
"""What goes last when something has to go: a correction is worth more than a choice, that more than a rating."""


@dataclass(frozen=True)
class Shares:
    """The items of one side by topic, language, length and label."""

    of: dict[str, Counter[str]]

    @classmethod
    def count(cls, items: Iterable[Item], looks: Looks, topic: Topic, side: Side = Side.TRAIN) -> "Shares":
        groups = _groups(looks, topic)
        of: dict[str, Counter[str]] = {name: Counter() for name in groups}
        for item in items:
            if item.side == side:
                for name, group in groups.items():
                    of[name][str(group(item))] += 1
        return cls(of)


def balance(
    items: list[Item], looks: Looks, clusters: dict[int, int], topic: Topic, policy: BalancePolicy
) -> tuple[list[Item], list[Dropped]]:
    """`clusters`: exchange → its near-duplicate cluster; `topic`: what an item is about.

    >>> from feedback.testing import item, look_at
    >>> said = [item(n, "How big?", f"{n} metres.") for n in range(3)]
    >>> policy = BalancePolicy(max_rows_per_question=2)
    >>> kept, dropped = balance(said, look_at(said), {0: 0, 1: 0, 2: 0}, lambda item: "all", policy)
    >>> len(kept), dropped[0].reason
    (2, 'over 2 rows on nearly the same question')
    """
    kept, dropped = _cap_questions(items, looks, clusters, policy)
    groups = _groups(looks, topic)
    for name, most in (
        ("topic", policy.max_topic_share),
        ("language", policy.max_language_share),
        ("length", policy.max_length_share),
    ):
        kept, out = _cap_shares(kept, groups[name], most, f"over {most:.0%} of the rows are of one {name}", policy)
        dropped += out
    kept, out = _cap_labels(kept, policy)
    return kept, dropped + out


def _groups(looks: Looks, topic: Topic) -> dict[str, Callable[[Item], str]]:
    return {
        "topic": topic,
        "language": lambda item: looks.taught(item).language or "unknown",
        "length": lambda item: _length(looks.taught(item).tokens),
        "label": _label,
    }


def _length(tokens: int) -> str:
    """
    >>> [_length(tokens) for tokens in (3, 4, 100, 9000)]
    ['1-3 tokens', '4-15 tokens', '64-255 tokens', '4096-16383 tokens']
    """
    least = 1
    while least * 4 <= tokens:
        least *= 4
    return f"{least}-{least * 4 - 1} tokens"


def _label(item: Item) -> str:
    if item.kind == FeedbackKind.RATING or item.tie:
        return "good" if item.good else "bad"
    return item.kind.value


def _order(item: Item) -> tuple[int, int, float, bytes]:
    """What stays comes first: the more valuable, of these what somebody stands behind, of these the newest."""
    behind = 0 if item.trusted else 1 if item.contributor is not None else 2
    return _VALUE[item.kind], behind, -item.created_at, _chance(item)


def _chance(item: Item) -> bytes:
    return blake2b(str(item.id).encode(), digest_size=8).digest()


def _cap_questions(
    items: list[Item], looks: Looks, clusters: dict[int, int], policy: BalancePolicy
) -> tuple[list[Item], list[Dropped]]:
    asked: dict[int, list[Item]] = defaultdict(list)
    for item in items:
        if item.side == Side.TRAIN:
            asked[clusters[item.exchange.id]].append(item)
    over: dict[int, str] = {}
    for same in asked.values():
        tokens = 0
        for place, item in enumerate(_in_turns(same)):
            size = looks.taught(item).tokens
            if place >= policy.max_rows_per_question:
                over[item.id] = f"over {policy.max_rows_per_question} rows on nearly the same question"
            elif tokens + size > policy.max_tokens_per_question:
                over[item.id] = f"over {policy.max_tokens_per_question} tokens on nearly the same question"
            else:
                tokens += size
    return drop_where(items, "balance", lambda item: over.get(item.id))


def _in_turns(items: list[Item]) -> list[Item]:
    """Everybody's first before anybody's second: who says much pushes nobody out."""
    turns: Counter[tuple[FeedbackKind, str | None]] = Counter()
    placed = []
    for item in sorted(items, key=_order):
        turns[item.kind, item.contributor] += 1
        value, behind, *rest = _order(item)
        placed.append(((value, behind, turns[item.kind, item.contributor], *rest), item))
    return [item for _, item in sorted(placed, key=lambda one: one[0])]


def _cap_shares(
    items: list[Item], group: Group, most: float, reason: str, policy: BalancePolicy
) -> tuple[list[Item], list[Dropped]]:
    training = [item for item in items if item.side == Side.TRAIN]
    sizes = Counter(group(item) for item in training)
    scattered = sizes.pop(OTHER, 0)
    cap = _largest_cap(list(sizes.values()), most, scattered)
    if len(training) < policy.min_rows or cap is None or cap >= max(sizes.values(), default=0):
        return items, []
    over: set[int] = set()
    members: dict[Hashable, list[Item]] = defaultdict(list)
    for item in training:
        if sizes.get(group(item), 0) > cap:
            members[group(item)].append(item)
    for some in members.values():
        over.update(item.id for item in sorted(some, key=_order)[cap:])
    return drop_where(items, "balance", lambda item: reason if item.id in over else None)


def _largest_cap(sizes: list[int], most: float, rest: int = 0) -> int | None:
    """The most rows a group may have for none to exceed the share `most` of them and `rest`; None where none does.

    >>> _largest_cap([900, 60, 40], 0.5), _largest_cap([10, 10], 0.5), _largest_cap([900], 0.5)
    (100, 10, None)
    """
    low, high = 0, max(sizes, default=0)
    while low < high:
        middle = (low + high + 1) // 2
        fits = middle <= most * (rest + sum(min(size, middle) for size in sizes)) + 1e-9
        low, high = (middle, high) if fits else (low, middle - 1)
    return low or None


def _cap_labels(items: list[Item], policy: BalancePolicy) -> tuple[list[Item], list[Dropped]]:
    rated = [item for item in items if item.side == Side.TRAIN and item.kind == FeedbackKind.RATING]
    good = [item for item in rated if item.good]
    bad = [item for item in rated if not item.good]
    fewer, more = sorted((good, bad), key=len)
    most = int(policy.max_label_ratio * len(fewer))
    if len(rated) < policy.min_rows or not fewer or len(more) <= most:
        return items, []
    over = {item.id for item in sorted(more, key=_order)[most:]}
    reason = f"over {policy.max_label_ratio:g} {'good' if more is good else 'bad'} ratings for each other one"
    return drop_where(items, "balance", lambda item: reason if item.id in over else None)
