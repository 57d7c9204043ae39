"""More phrasings of what people taught, by template: in training rows only, marked as synthetic, off by default.

Backs off by itself: what people have asked in many ways of their own gets none. A phrasing that is near a held-out
question is left out, as anybody's would be.
"""

from collections import Counter
from collections.abc import Set
from dataclasses import replace

import numpy as np

from feedback.curate.items import Exchange, Item
from feedback.curate.looks import Looks, question_key
from feedback.curate.similarity import Questions, signatures
from feedback.curation_policies import AugmentPolicy
from feedback.states import FeedbackKind, Side

TEMPLATES = (
    "Could you tell me: {question}",
    "I have a question. {question}",
    "Quick question: {question} Thanks!",
    "Somebody asked me this, and I don't know: {question}",
    "Hi! {question}",
    "{question} Please answer briefly.",
    "Help me with this, please: {question}",
    "One more thing: {question}",
)


def augment(items: list[Item], looks: Looks, policy: AugmentPolicy, near: float, held_out: Set[int]) -> list[Item]:
    """The synthetic items alone; `near` is the similarity from which two questions are one, `held_out` the rows of
    looks.questions that aren't learned.

    >>> from feedback.testing import item, look_at
    >>> said = [item(1, "How big?", correction="Two metres.", key_facts=("two metres",))]
    >>> [one.exchange.history[-1][1] for one in augment(said, look_at(said), AugmentPolicy(copies=1), 0.8, set())]
    ['Could you tell me: How big?']
    """
    taught = [
        item
        for item in items
        if item.kind == FeedbackKind.CORRECTION and item.side == Side.TRAIN and item.exchange.history
    ]
    phrasings = Counter(_fact(item) for item in taught)
    made = [
        replace(item, exchange=_asked_as(item.exchange, template), merged=(), synthetic=True)
        for item in taught
        if phrasings[_fact(item)] < policy.enough_phrasings
        for template in TEMPLATES[: policy.copies]
    ]
    return _not_held_out(made, held_out | looks.cases, looks, near) if made else []


def _not_held_out(made: list[Item], held: Set[int], looks: Looks, near: float) -> list[Item]:
    texts = [question_key(item.exchange.history) for item in made]
    rows = sorted(held)
    known = looks.questions
    both = Questions(
        [*texts, *(known.texts[row] for row in rows)], np.concatenate([signatures(texts), known.signed[rows]])
    )
    close = both.near_any(set(range(len(texts))), set(range(len(texts), len(both.texts))), near)
    return [item for place, item in enumerate(made) if place not in close]


def _fact(item: Item) -> str:
    return " | ".join(sorted(fact.casefold() for fact in item.key_facts)) or item.taught.casefold()


def _asked_as(exchange: Exchange, template: str) -> Exchange:
    *before, (role, question) = exchange.history
    return replace(exchange, history=(*before, (role, template.replace("{question}", question))))
