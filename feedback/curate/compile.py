"""Items become rows in TRL's formats.

correction → an SFT row (prompt, completion) and a pair (chosen: the correction, rejected: the reply)
preference → a pair · rating → a KTO row (prompt, completion, label) · tie → such a row for each reply

A row is planned first, which takes little memory, and made when it is written.
"""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from feedback.curate.items import Dropped, Exchange, Item, Turns, drop
from feedback.policies import TrainingPolicy
from feedback.run_folder import Method, Row, Source, Turn
from feedback.states import FeedbackKind, Side

Prompt = Callable[[Turns], list[Turn]]
"""History → what the model will read: the current guidelines in front."""


@dataclass(slots=True, eq=False)
class Planned:
    id: str  # by its feedback and method: the same in every dataset
    method: Method
    source: Source
    item: Item
    cluster: str
    of_rejected: bool = False  # a tie's row about the other reply

    @property
    def side(self) -> Side:
        assert self.item.side is not None
        return self.item.side

    @property
    def feedback_ids(self) -> tuple[int, ...]:
        return self.item.feedback_ids

    @property
    def topic(self) -> str:
        """What it is about: its key facts, else its question's cluster."""
        return " | ".join(sorted(fact.casefold() for fact in self.item.key_facts)) or self.cluster

    def row(self, prompt: Prompt, salt: str = "") -> Row:
        """The row as the trainer reads it; `prompt` puts the guidelines in front, `salt` hides it in its hash."""
        item = self.item
        return Row(
            id=self.id,
            salt=salt,
            method=self.method,
            source=self.source,
            prompt=prompt(item.exchange.history),
            contributor=item.contributor,
            cluster=self.cluster,
            topic=self.topic,
            key_facts=list(item.key_facts),
            synthetic=item.synthetic,
            **self._texts(item),
        )

    def _texts(self, item: Item) -> dict[str, object]:
        reply, other = item.exchange, item.rejected
        if self.method == "sft":
            return {"completion": _said(item.taught)}
        if self.method == "kto":
            rated = other if self.of_rejected and other is not None else reply
            return {
                "completion": _said(rated.reply),
                "label": item.good,
                "completion_version": rated.version,
                "corroborated": item.trusted or item.voices > 1,
            }
        if item.correction is not None:
            return {"chosen": _said(item.taught), "rejected": _said(reply.reply), "rejected_version": reply.version}
        assert other is not None
        versions = {"chosen_version": reply.version, "rejected_version": other.version}
        return {"chosen": _said(reply.reply), "rejected": _said(other.reply), **versions}


def plan_rows(
    items: list[Item], policy: TrainingPolicy, cluster: Callable[[Exchange], str]
) -> tuple[list[Planned], list[Dropped]]:
    """
    >>> from feedback.testing import item
    >>> said = item(1, "How big?", "I don't know.", correction="Two metres.", key_facts=("two metres",))
    >>> rows, dropped = plan_rows([said], TrainingPolicy(), lambda exchange: "c")
    >>> sorted((planned.method, planned.source) for planned in rows), dropped
    ([('dpo', 'correction'), ('sft', 'correction')], [])
    """
    rows: list[Planned] = []
    copies = Counter[int]()
    for item in items:
        copies[item.id] += item.synthetic
        rows += _plan(item, cluster(item.exchange), copies[item.id])
    pairs = [planned for planned in rows if planned.method == "dpo" and planned.side == Side.TRAIN]
    pairs.sort(key=lambda planned: (planned.source != "preference", planned.id))
    surplus = {planned.id for planned in pairs[policy.max_preference_pairs :]}
    dropped: list[Dropped] = []
    for planned in pairs[policy.max_preference_pairs :]:
        reason = f"over max_preference_pairs ({policy.max_preference_pairs}), and chance chose which stay; "
        reason += "its correction still trains" if planned.source == "correction" else "left out of this dataset"
        dropped += drop(planned.item, "compile", reason)
    return sorted((one for one in rows if one.id not in surplus), key=lambda planned: planned.id), dropped


def methods_for(rows: list[Planned], policy: TrainingPolicy) -> list[Method]:
    """Of those that may: SFT where there are corrections, then DPO, or KTO where pairs are too few and ratings not."""
    training = [planned.method for planned in rows if planned.side == Side.TRAIN and planned.method in policy.methods]
    methods: list[Method] = ["sft"] if "sft" in training else []
    if training.count("dpo") >= policy.min_preference_pairs:
        methods.append("dpo")
    elif training.count("kto") >= policy.min_ratings:
        methods.append("kto")
    return methods


def leave_out_untrained(
    rows: list[Planned], methods: list[Method], policy: TrainingPolicy
) -> tuple[list[Planned], list[Dropped]]:
    """Drop the training and dev rows of methods that won't run: a receipt must not call them learned."""
    pairs = f"fewer choices and corrections than min_preference_pairs ({policy.min_preference_pairs}) to train on pairs"
    ratings = "ratings train only where pairs are too few"
    if "dpo" not in methods:
        ratings = f"fewer ratings than min_ratings ({policy.min_ratings}) to train on them"
    why = {"sft": "no correction is on the training side", "dpo": pairs, "kto": ratings}
    why |= {method: f"training.methods leaves {method.upper()} out" for method in why if method not in policy.methods}
    kept: list[Planned] = []
    used = {one.item.id for one in rows if one.side == Side.GATE or one.method in methods}
    left_out: dict[int, tuple[Item, str]] = {}  # an item once, however many rows it would have made
    for planned in rows:
        if planned.side == Side.GATE or planned.method in methods:
            kept.append(planned)
        else:
            still = "; its correction still trains" if planned.method == "dpo" else "; its pair still trains"
            reason = why[planned.method] + (still if planned.item.id in used else "")
            left_out[planned.item.id] = planned.item, reason
    return kept, [out for item, reason in left_out.values() for out in drop(item, "compile", reason)]


def _plan(item: Item, cluster: str, copy: int) -> list[Planned]:
    """`copy`: a synthetic item's number among its own; an id tells nothing of what the row says."""

    def planned(method: Method, source: Source, part: str = "", *, of_rejected: bool = False) -> Planned:
        name = hashlib.sha256(f"{method}:{item.id}{part}".encode()).hexdigest()[:20]
        return Planned(f"{method}-{name}", method, source, item, cluster, of_rejected)

    part = f":synthetic:{copy}" if item.synthetic else ""
    if item.kind == FeedbackKind.CORRECTION:
        rows = [planned("sft", "correction", part)]
        if item.exchange.reply.strip() and not item.synthetic:
            rows.append(planned("dpo", "correction"))
        return rows
    if item.tie:
        return [planned("kto", "preference"), planned("kto", "preference", ":other", of_rejected=True)]
    if item.kind == FeedbackKind.PREFERENCE:
        return [planned("dpo", "preference")]
    return [planned("kto", "rating")]


def _said(content: str) -> list[Turn]:
    return [Turn(role="assistant", content=content)]
