"""Summaries: a short notice in one plain sentence.

Measures ROUGE-1, -2 and -L against the summary that a person wrote. What is learned is the form (one sentence, who
does what, no list, no comment) and to keep to the notice's own words; ROUGE doesn't tell whether a summary is true.
"""

from collections.abc import Iterable, Sequence

from feedback.hyperparameters import Hyperparameters
from trainer.recipes.metrics import rouge
from trainer.recipes.recipe import Answer, Data, Example, Recipe, turn

TASK = {"en": "Summarize this notice in one sentence.\n\n{text}", "zh": "用一句话概括这条消息。\n\n{text}"}


def examples(row: Data) -> Iterable[Example]:
    prompt = [turn("user", TASK[row["language"]].format(text=row["text"]))]
    yield Example(row["id"], row["language"], prompt, row["summary"], topic=row["id"], data=row)


def measure(answers: Sequence[Answer]) -> dict[str, float]:
    return rouge(answers)


RECIPE = Recipe(
    title="Summaries: a notice in one sentence",
    examples=examples,
    measure=measure,
    hyperparameters=Hyperparameters(learning_rate=3e-4, num_train_epochs=4),
    max_new_tokens=56,
)
