"""The pipeline: what people said in, rows for training and judging out, with a reason for everything dropped.

Pure: no database, no clock, no files. The same items and policies give the same rows, whatever their order.
"""

from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import dataclass

from feedback.curate.age import age
from feedback.curate.augment import augment
from feedback.curate.balance import Shares, balance
from feedback.curate.compile import Planned, leave_out_untrained, methods_for, plan_rows
from feedback.curate.conflicts import conflicts
from feedback.curate.consent import consent
from feedback.curate.decontaminate import decontaminate
from feedback.curate.duplicates import duplicates
from feedback.curate.evaluations import Evaluations
from feedback.curate.items import Dropped, Drops, Item
from feedback.curate.looks import Looks, look_at
from feedback.curate.passage import Passage, Progress
from feedback.curate.portrait import Portrait, origin, portray
from feedback.curate.privacy import privacy
from feedback.curate.quality import quality
from feedback.curate.quarantine import quarantine
from feedback.curate.split import cluster_names, split, with_sides
from feedback.curate.trust import standing, trust
from feedback.policies import Policies
from feedback.run_folder import Method
from feedback.states import Side


@dataclass(frozen=True)
class Curated:
    rows: list[Planned]
    methods: list[Method]
    dropped: Drops
    funnel: list[tuple[str, int]]
    """(stage, items left after it), in order; the first is what came in."""
    identifiers: Counter[str]
    """What privacy replaced, by kind."""
    portrait: Portrait


def curate(
    items: Iterable[Item],
    policies: Policies,
    consent_policy: str,
    *,
    as_of: float,
    evaluations: Evaluations | None = None,
    processes: int | None = None,
    progress: Progress = lambda stage, left: None,
) -> Curated:
    """`as_of`: the time, in seconds since 1970, that ages count from. `processes`: as many as there are cores."""
    kept = sorted(items, key=lambda item: item.id)
    near = policies.training.near_duplicate_similarity
    passage = Passage(progress)
    passed = passage.passed
    kept = passed("received", (kept, []))
    received, vouched_for = Counter(map(origin, kept)), sum(item.trusted for item in kept)
    kept = passed("quarantine", quarantine(kept))
    kept = passed("consent", consent(kept, consent_policy))
    kept = passed("age", age(kept, policies.age, as_of))
    looks = look_at(
        kept,
        near=near,
        evaluations=evaluations or Evaluations(),
        topics=policies.balance.topics,
        names=policies.privacy.names,
        processes=processes,
    )
    known = standing(kept, policies.trust)
    kept = passed("trust", trust(kept, looks, known, policies.trust))
    kept, identifiers = privacy(kept, looks, policies.privacy)
    kept = passed("privacy", (kept, []))
    kept = passed("quality", quality(kept, looks, policies.quality))
    kept = passed("conflicts", conflicts(kept, looks, known, policies.conflicts))
    kept = with_sides(kept, looks, policies.training)
    clusters = _clusters(kept, looks)
    kept = passed("duplicates", duplicates(kept, looks, clusters, policies.duplicates))

    def topic(item: Item) -> str:
        return looks.asked[item.exchange.id].topic

    before = Shares.count(kept, looks, topic)
    kept = passed("balance", balance(kept, looks, clusters, topic, policies.balance))
    after = Shares.count(kept, looks, topic)
    kept = passed("decontaminate", decontaminate(kept, looks, near))
    held_out = {row for item in kept if item.side != Side.TRAIN for row in looks.questions_of(item)}
    kept = passed("split", split(kept, looks, near))
    rows, out = _compile(kept, looks, policies, near, held_out)
    methods = methods_for(rows, policies.training)
    rows, untrained = leave_out_untrained(rows, methods, policies.training)
    passage.dropped.add(out + untrained)
    passage.note("compile", len({planned.item.id for planned in rows}))
    portrait = portray(received, vouched_for, before, after, rows, looks, topic, policies.quality.max_toxicity)
    return Curated(rows, methods, passage.dropped, passage.funnel, identifiers, portrait)


def _clusters(items: Iterable[Item], looks: Looks) -> dict[int, int]:
    """For each exchange its near-duplicate cluster."""
    asked = {item.exchange.id: looks.asked[item.exchange.id].question for item in items}
    leaders = looks.clusters_among(set(asked.values()))
    return {number: leaders[row] for number, row in asked.items()}


def _compile(
    items: list[Item], looks: Looks, policies: Policies, near: float, held_out: Set[int]
) -> tuple[list[Planned], list[Dropped]]:
    names = cluster_names(looks, {looks.asked[item.exchange.id].question for item in items})
    more = augment(items, looks, policies.augment, near, held_out)
    return plan_rows(items + more, policies.training, lambda exchange: names[looks.asked[exchange.id].question])
