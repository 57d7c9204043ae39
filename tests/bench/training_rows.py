"""Rows to measure training on: about the demo's product (corrections, choices, thumbs), or from a file of choices."""

import random
from pathlib import Path
from typing import Any

from bench.choices import read_choices

from feedback.demo.product import load_product
from feedback.run_folder import Method, Row, Source, Turn

SOURCES: dict[Method, Source] = {"sft": "correction", "dpo": "preference", "kto": "rating"}


def rows(method: Method, count: int) -> list[Row]:
    """Four of each fact, in a random order that stays. A pair's rejected reply is another fact's answer."""
    product = load_product(count // 4)
    chance = random.Random(3)
    made = []
    for fact in product.facts:
        for index, text in enumerate(fact.phrasings[:4]):
            right = [Turn(role="assistant", content=chance.choice(fact.answers))]
            other = chance.choice([one for one in product.facts if one is not fact])
            wrong = [Turn(role="assistant", content=chance.choice(other.answers))]
            liked = index % 2 == 0
            made.append(
                Row(
                    id=f"{fact.id}-{index}",
                    method=method,
                    source=SOURCES[method],
                    prompt=[
                        Turn(role="system", content=product.system_prompt),
                        Turn(role="user", content=text),
                    ],
                    completion=None if method == "dpo" else right if method == "sft" or liked else wrong,
                    chosen=right if method == "dpo" else None,
                    rejected=wrong if method == "dpo" else None,
                    label=liked if method == "kto" else None,
                    cluster=fact.id,
                    topic=fact.id,
                )
            )
    chance.shuffle(made)
    return made


def rows_of_choices(method: Method, count: int, file: Path, tokenizer: Any, longest: int) -> list[Row]:
    """So many of a file's (hh-rlhf's format), in a random order that stays: the chosen replies, the pairs, or thumbs.

    Every second reply that is rated was chosen, the others weren't. None has more than `longest` tokens.
    """
    choices, _ = read_choices(file, tokenizer, longest)
    random.Random(3).shuffle(choices)
    made = []
    for place, pair in enumerate(one.row for one in choices[:count]):
        if method == "dpo":
            made.append(pair)
            continue
        liked = method == "sft" or place % 2 == 0
        reply = pair.chosen if liked else pair.rejected
        told = {"completion": reply, "chosen": None, "rejected": None, "label": liked if method == "kto" else None}
        made.append(pair.model_copy(update={"method": method, "source": SOURCES[method], **told}))
    return made
