"""Technical support of the Mossbell, a planter that waters itself. It was invented here, so that nobody can guess.

Each fact is taught in a few phrasings of its question and asked for in others. Measures how many replies have the
fact's key words, and BLEU against the answer that was taught. Facts that were never taught can't be learned: asking
for those would measure nothing.
"""

from collections.abc import Iterable, Sequence

from feedback.hyperparameters import Hyperparameters
from trainer.recipes.metrics import bleu, key_fact_recall
from trainer.recipes.recipe import Answer, Data, Example, Recipe, turn

SYSTEM = {
    "en": "You are the support assistant for the Mossbell planter. Answer in one short sentence.",
    "zh": "你是Mossbell花盆的客服，请用一句话简短回答。",
}


def examples(row: Data) -> Iterable[Example]:
    prompt = [turn("system", SYSTEM[row["language"]]), turn("user", row["question"])]
    yield Example(row["id"], row["language"], prompt, row["answer"], row["fact"], row["key_facts"], row)


def measure(answers: Sequence[Answer]) -> dict[str, float]:
    return {"key-fact recall": key_fact_recall(answers), "BLEU": bleu(answers)}


RECIPE = Recipe(
    title="Technical support: facts of an invented product, asked in other words",
    examples=examples,
    measure=measure,
    hyperparameters=Hyperparameters(learning_rate=7e-4, num_train_epochs=8),
    max_new_tokens=40,
)
