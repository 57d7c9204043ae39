"""What came in and what the rows are like, counted while the looks at the texts are at hand: for the datasheet."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from feedback.curate.balance import Shares, Topic
from feedback.curate.compile import Planned
from feedback.curate.items import Item
from feedback.curate.looks import Look, Looks
from feedback.states import Side


@dataclass(frozen=True)
class PairsLook:
    """How the better and the worse sides of pairs differ in ways that have nothing to do with being right."""

    pairs: int
    better_is_longer: int
    worse_is_longer: int
    tokens_better: int  # estimated, all pairs together
    tokens_worse: int
    refusals_better: int
    refusals_worse: int
    offensive_better: int
    offensive_worse: int


@dataclass(frozen=True)
class Portrait:
    received: Counter[str]
    """Pieces of feedback by origin: `import:FILE`, `operator`, or people who chatted."""
    vouched_for: int
    """Of them, what an operator said or imported, or a reviewer approved: nobody else need be believed."""
    before: Shares
    """What would train before balance, by topic, language, length and label; and after it."""
    after: Shares
    trains: Shares
    """What the rows are made of."""
    judges: Shares
    pairs: dict[Side, PairsLook]


PEOPLE = "people who chatted"


def origin(item: Item) -> str:
    return item.source or PEOPLE


def portray(
    received: Counter[str],
    vouched_for: int,
    before: Shares,
    after: Shares,
    rows: Sequence[Planned],
    looks: Looks,
    topic: Topic,
    max_toxicity: float,
) -> Portrait:
    made_of = {planned.item.id: planned.item for planned in rows}.values()
    return Portrait(
        received,
        vouched_for,
        before,
        after,
        Shares.count(made_of, looks, topic),
        Shares.count(made_of, looks, topic, Side.GATE),
        {
            side: _look_at_pairs([one for one in rows if one.side == side], looks, max_toxicity)
            for side in (Side.TRAIN, Side.DEV, Side.GATE)
        },
    )


def _look_at_pairs(rows: Iterable[Planned], looks: Looks, max_toxicity: float) -> PairsLook:
    sides = [_sides(planned.item, looks) for planned in rows if planned.method == "dpo"]

    def offensive(look: Look) -> bool:
        return (look.toxicity or 0) > max_toxicity

    return PairsLook(
        pairs=len(sides),
        better_is_longer=sum(better.tokens > worse.tokens for better, worse in sides),
        worse_is_longer=sum(worse.tokens > better.tokens for better, worse in sides),
        tokens_better=sum(better.tokens for better, _ in sides),
        tokens_worse=sum(worse.tokens for _, worse in sides),
        refusals_better=sum(better.refusal for better, _ in sides),
        refusals_worse=sum(worse.refusal for _, worse in sides),
        offensive_better=sum(offensive(better) for better, _ in sides),
        offensive_worse=sum(offensive(worse) for _, worse in sides),
    )


def _sides(item: Item, looks: Looks) -> tuple[Look, Look]:
    worse = item.rejected or item.exchange
    return looks.taught(item), looks.said[worse.id]
