"""Items become rows in TRL's formats.

correction → an SFT row (prompt, completion) and a pair (chosen: the correction, rejected: the reply)
preference → a pair · rating → a KTO row (prompt, completion, label)
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from feedback.curate.items import Dropped, Item, Turns
from feedback.policies import TrainingPolicy
from feedback.run_folder import Method, Row, Turn
from feedback.states import FeedbackKind, Side

Prompt = Callable[[Turns], list[Turn]]
"""History → what the model will read: the current guidelines in front."""


@dataclass(frozen=True)
class Compiled:
    row: Row
    side: Side
    feedback_ids: tuple[int, ...]


def compile_rows(items: list[Item], policy: TrainingPolicy, prompt: Prompt) -> tuple[list[Compiled], list[Dropped]]:
    """
    >>> from feedback.testing import item
    >>> said = item(1, "How big?", "I don't know.", correction="Two metres.", key_facts=("two metres",))
    >>> rows, dropped = compile_rows([said], TrainingPolicy(), lambda turns: [])
    >>> sorted((made.row.method, made.row.source) for made in rows), dropped
    ([('dpo', 'correction'), ('sft', 'correction')], [])
    """
    rows: list[Compiled] = []
    dropped: list[Dropped] = []
    for item in items:
        assert item.side is not None
        rows += [Compiled(row, item.side, item.feedback_ids) for row in _rows(item, prompt(item.history))]
    pairs = [made for made in rows if made.row.method == "dpo" and made.side == Side.TRAIN]
    pairs.sort(key=lambda made: (made.row.source != "preference", made.row.id))
    surplus = {made.row.id for made in pairs[policy.max_preference_pairs :]}
    for made in rows:
        if made.row.id in surplus:
            reason = f"over max_preference_pairs ({policy.max_preference_pairs}); "
            reason += "its correction still trains" if made.row.source == "correction" else "left out of this dataset"
            dropped.append(Dropped(made.feedback_ids, "compile", reason))
    kept = [made for made in rows if made.row.id not in surplus]
    return sorted(kept, key=lambda made: made.row.id), dropped


def methods_for(rows: list[Compiled], policy: TrainingPolicy) -> list[Method]:
    """SFT where there are corrections, then DPO, or KTO where pairs are too few and ratings are not."""
    training = [made.row.method for made in rows if made.side == Side.TRAIN]
    methods: list[Method] = ["sft"] if "sft" in training else []
    if training.count("dpo") >= policy.min_preference_pairs:
        methods.append("dpo")
    elif training.count("kto") >= policy.min_ratings:
        methods.append("kto")
    return methods


def leave_out_untrained(
    rows: list[Compiled], methods: list[Method], policy: TrainingPolicy
) -> tuple[list[Compiled], list[Dropped]]:
    """Drop the training and dev rows of methods that won't run: a receipt must not call them learned."""
    pairs = f"fewer choices and corrections than min_preference_pairs ({policy.min_preference_pairs}) to train on pairs"
    ratings = "ratings train only where pairs are too few"
    if "dpo" not in methods:
        ratings = f"fewer ratings than min_ratings ({policy.min_ratings}) to train on them"
    why = {"sft": "no correction is on the training side", "dpo": pairs, "kto": ratings}
    kept: list[Compiled] = []
    dropped: list[Dropped] = []
    for made in rows:
        if made.side == Side.GATE or made.row.method in methods:
            kept.append(made)
        else:
            still = made.row.method == "dpo" and made.row.source == "correction" and "sft" in methods
            reason = why[made.row.method] + ("; its correction still trains" if still else "")
            dropped.append(Dropped(made.feedback_ids, "compile", reason))
    return kept, dropped


def _rows(item: Item, prompt: list[Turn]) -> list[Row]:
    topic = " | ".join(sorted(fact.casefold() for fact in item.key_facts)) or item.cluster
    shared = {
        "prompt": prompt,
        "contributor": item.contributor,
        "cluster": item.cluster,
        "topic": topic,
        "key_facts": list(item.key_facts),
    }

    def row(method: Method, source: str, **fields: object) -> Row:
        made = Row.model_validate({"id": "", "method": method, "source": source, **shared, **fields})
        content = made.model_dump_json(exclude={"id"}) + str(item.feedback_ids[0])
        return made.model_copy(update={"id": f"{method}-{hashlib.sha256(content.encode()).hexdigest()[:20]}"})

    if item.kind == FeedbackKind.CORRECTION:
        rows = [row("sft", "correction", completion=_said(item.taught))]
        if item.reply.strip():
            rows.append(
                row(
                    "dpo",
                    "correction",
                    chosen=_said(item.taught),
                    rejected=_said(item.reply),
                    rejected_version=item.reply_version,
                )
            )
        return rows
    if item.kind == FeedbackKind.PREFERENCE:
        return [
            row(
                "dpo",
                "preference",
                chosen=_said(item.reply),
                rejected=_said(item.rejected or ""),
                chosen_version=item.reply_version,
                rejected_version=item.rejected_version,
            )
        ]
    return [row("kto", "rating", completion=_said(item.reply), label=(item.score or 0) > 0)]


def _said(content: str) -> list[Turn]:
    return [Turn(role="assistant", content=content)]
