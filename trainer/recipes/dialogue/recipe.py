"""Dialogue: a plain language model without a chat template learns to hold a conversation.

The base is a tiny GPT-2 made on this machine (base.py): it continues texts and has never seen anybody take turns. It
learns the front desk of an invented guest house: greet, answer, say goodbye, and stop. Each reply of a conversation is
an example, with all that was said before as its prompt. Held-out conversations are other ones, in other words.

Measures the share of replies that are one turn (one line that ends as a sentence and speaks for nobody else), that fit
the moment (a greeting, a farewell), that have the fact asked for, and the perplexity of the right replies.
"""

import math
import re
from collections.abc import Iterable, Sequence
from statistics import fmean

from feedback.hyperparameters import Hyperparameters
from trainer.recipes.dialogue.base import make_base
from trainer.recipes.metrics import key_fact_recall, share
from trainer.recipes.recipe import Answer, Data, Example, Recipe, turn

ONE_TURN = re.compile(r"\s*(?!(user|assistant|system)\b)[^\n]*[.!?。！？]\s*", re.IGNORECASE)
MOMENTS = {
    "greeting": re.compile(r"welcome to|hello|how can i help|欢迎来到|您好|你好|可以帮您", re.IGNORECASE),
    "farewell": re.compile(r"you are welcome|you're welcome|goodbye|enjoy your|不客气|再见|祝您", re.IGNORECASE),
}


def examples(row: Data) -> Iterable[Example]:
    turns = row["turns"]
    for place, one in enumerate(turns):
        if one["role"] == "assistant":
            yield Example(
                id=f"{row['id']}-{place}",
                language=row["language"],
                prompt=[turn(before["role"], before["content"]) for before in turns[:place]],
                completion=one["content"],
                topic=one["moment"],
                key_facts=one.get("key_facts", []),
                data=one,
            )


def measure(answers: Sequence[Answer]) -> dict[str, float]:
    moments = [answer for answer in answers if answer.example.topic in MOMENTS]
    return {
        "one turn": share([ONE_TURN.fullmatch(answer.reply) is not None for answer in answers]),
        "fits the moment": share([MOMENTS[one.example.topic].search(one.reply) is not None for one in moments]),
        "key-fact recall": key_fact_recall(answers),
        "perplexity": math.exp(fmean(answer.loss for answer in answers)),
    }


RECIPE = Recipe(
    title="Dialogue: a plain GPT-2 learns to take turns",
    examples=examples,
    measure=measure,
    hyperparameters=Hyperparameters(r=32, lora_alpha=64, learning_rate=5e-3, num_train_epochs=12, replay_fraction=0),
    max_new_tokens=40,
    lower_is_better=frozenset({"perplexity"}),
    make_base=make_base,
)
