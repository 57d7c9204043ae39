"""Rows to measure training on: about the demo's product (corrections, choices, thumbs), or from a file of choices.

Conversations are what an assistant's rows look like in use: guidelines that all share, up to three earlier turns, a
reply of one to three sentences. Questions are the shortest rows there are: one question, one sentence.
"""

import random
from pathlib import Path
from typing import Any

from bench.choices import read_choices

from feedback.demo.product import FULL, Fact, Product, load_product
from feedback.run_folder import Method, Row, Source, Turn

SOURCES: dict[Method, Source] = {"sft": "correction", "dpo": "preference", "kto": "rating"}

EARLIER_TURNS = (0, 1, 1, 2, 3)
"""Before the last question; one is drawn."""
MOST_SENTENCES = 3
"""Of a reply in a conversation; one at least, each number as often as the others."""
GUIDELINES = """
You are the support assistant for the Wrenpot tea brewer.
Answer in the language that the customer writes in, in plain words and without exclamation marks.
Give numbers with their units, as they stand in the manual, and never round them.
If a question has nothing to do with the brewer, its app or an order, say so kindly and offer to help with those.
Don't guess: what the manual doesn't say, a colleague answers by e-mail within one working day.
Never ask for card numbers or passwords. Warn of hot water and steam where somebody could be scalded.
"""


def questions(method: Method, count: int) -> list[Row]:
    """Four of each fact, in a random order that stays. A pair's rejected reply is another fact's answer."""
    product = load_product(count // 4)
    chance = random.Random(3)
    made = []
    for fact in product.facts:
        for index, text in enumerate(fact.phrasings[:4]):
            right = chance.choice(fact.answers)
            other = chance.choice([one for one in product.facts if one is not fact])
            wrong = chance.choice(other.answers)
            asked = [Turn(role="system", content=product.system_prompt), Turn(role="user", content=text)]
            made.append(_row(method, f"{fact.id}-{index}", fact, asked, right, wrong, liked=index % 2 == 0))
    chance.shuffle(made)
    return made


def conversations(method: Method, count: int) -> list[Row]:
    """So many. A pair's rejected reply is as many other facts' answers."""
    product = load_product(FULL.facts)
    chance = random.Random(3)
    return [_conversation(method, number, product, chance) for number in range(count)]


def _conversation(method: Method, number: int, product: Product, chance: random.Random) -> Row:
    turns, sentences = chance.choice(EARLIER_TURNS), chance.randint(1, MOST_SENTENCES)
    drawn = iter(chance.sample(product.facts, turns + 2 * sentences))
    asked = [Turn(role="system", content=f"{GUIDELINES.strip()}\n{product.description}")]
    for _ in range(turns):
        earlier = next(drawn)
        asked.append(Turn(role="user", content=chance.choice(earlier.phrasings)))
        asked.append(Turn(role="assistant", content=chance.choice(earlier.answers)))
    told = list(drawn)
    right, wrong = (
        " ".join(chance.choice(fact.answers) for fact in facts) for facts in (told[:sentences], told[sentences:])
    )
    asked.append(Turn(role="user", content=chance.choice(told[0].phrasings)))
    return _row(method, f"conversation-{number}", told[0], asked, right, wrong, liked=number % 2 == 0)


def _row(method: Method, name: str, fact: Fact, asked: list[Turn], right: str, wrong: str, *, liked: bool) -> Row:
    good, bad = [Turn(role="assistant", content=right)], [Turn(role="assistant", content=wrong)]
    return Row(
        id=name,
        method=method,
        source=SOURCES[method],
        prompt=asked,
        completion=None if method == "dpo" else good if method == "sft" or liked else bad,
        chosen=good if method == "dpo" else None,
        rejected=bad if method == "dpo" else None,
        label=liked if method == "kto" else None,
        cluster=fact.id,
        topic=fact.id,
    )


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


KINDS = {"conversations": conversations, "questions": questions}
