"""Classification: is what somebody wrote in a review praise or a complaint? One word answers.

Measures accuracy, and precision, recall and F1 averaged over both labels. A reply counts by the first label in it, so
that a base that answers in whole sentences isn't marked down for that.
"""

from collections.abc import Iterable, Sequence

from feedback.hyperparameters import Hyperparameters
from trainer.recipes.metrics import classification
from trainer.recipes.recipe import Answer, Data, Example, Recipe, turn

LABELS = {"en": ("positive", "negative"), "zh": ("正面", "负面")}
QUESTIONS = {
    "en": "Is this review positive or negative? Answer with one word.\n\n{text}",
    "zh": "这条评价是正面还是负面？只回答一个词。\n\n{text}",
}


def examples(row: Data) -> Iterable[Example]:
    language, label = row["language"], row["label"]
    if label not in LABELS[language]:
        raise ValueError(f"the label {label!r} is none of {LABELS[language]}")
    question = QUESTIONS[language].format(text=row["text"])
    yield Example(row["id"], language, [turn("user", question)], label, topic=label, data=row)


def measure(answers: Sequence[Answer]) -> dict[str, float]:
    predicted = [first_label(answer.reply, LABELS[answer.example.language]) for answer in answers]
    return classification(predicted, [answer.example.completion for answer in answers])


def first_label(reply: str, labels: Sequence[str]) -> str | None:
    """The label that comes first in a reply, if any does.

    >>> first_label("It's Negative, not positive.", LABELS["en"]), first_label("Hm.", LABELS["en"])
    ('negative', None)
    """
    said = reply.lower()
    found = [label for label in labels if label in said]
    return min(found, key=said.index, default=None)


RECIPE = Recipe(
    title="Classification: reviews as positive or negative",
    examples=examples,
    measure=measure,
    hyperparameters=Hyperparameters(learning_rate=5e-4, num_train_epochs=4),
    max_new_tokens=12,
)
