"""Metrics of replies against what was right: kept libraries', told what language they read.

Leaves out each recipe's own checks (its recipe.py) and what a difference is worth (trainer.evaluation).
"""

import re
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from feedback.key_facts import contains_facts
from trainer.recipes.recipe import Answer

_PIECES = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")


def classification(predicted: Sequence[str | None], actual: Sequence[str]) -> dict[str, float]:
    """Accuracy, and precision, recall and F1 averaged over the labels; None, no label at all, is always wrong.

    >>> rounded = {name: round(value, 3) for name, value in classification(["a", None, "b"], ["a", "a", "b"]).items()}
    >>> rounded
    {'accuracy': 0.667, 'precision': 1.0, 'recall': 0.75, 'F1': 0.833}
    """
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    said = [label or "" for label in predicted]
    precision, recall, f1, _ = precision_recall_fscore_support(
        actual, said, labels=sorted(set(actual)), average="macro", zero_division=0
    )
    return {
        "accuracy": float(accuracy_score(actual, said)),
        "precision": float(precision),
        "recall": float(recall),
        "F1": float(f1),
    }


def rouge(answers: Sequence[Answer]) -> dict[str, float]:
    """F-measures of ROUGE-1, -2 and -L (Lin 2004) against the right completions, each the replies' mean."""
    from rouge_score.rouge_scorer import RougeScorer

    kinds = {"ROUGE-1": "rouge1", "ROUGE-2": "rouge2", "ROUGE-L": "rougeL"}
    scorer = RougeScorer(list(kinds.values()), tokenizer=Pieces())
    scores = [scorer.score(answer.example.completion, answer.reply) for answer in answers]
    return {name: fmean(score[kind].fmeasure for score in scores) for name, kind in kinds.items()}


class Pieces:
    """A tokenizer for rouge-score, whose own drops everything but a-z and 0-9."""

    def tokenize(self, text: str) -> list[str]:
        """Words, but of Chinese, which has no spaces, single characters.

        >>> Pieces().tokenize("Tea at 9, please. 九点喝茶。")
        ['tea', 'at', '9', 'please', '九', '点', '喝', '茶']
        """
        return _PIECES.findall(text.lower())


def bleu(answers: Sequence[Answer]) -> float:
    """The corpus' BLEU by sacrebleu, 0 to 100; Chinese is cut into characters (its tokenizer `zh`)."""
    import sacrebleu

    (language,) = {answer.example.language for answer in answers}
    scored: Any = sacrebleu.corpus_bleu(
        [answer.reply for answer in answers],
        [[answer.example.completion for answer in answers]],
        tokenize="zh" if language == "zh" else "13a",
    )
    return float(scored.score)


def key_fact_recall(answers: Sequence[Answer]) -> float:
    """Share of replies with all their key facts, among those that have any to tell."""
    asked = [answer for answer in answers if answer.example.key_facts]
    return fmean(contains_facts(answer.reply, answer.example.key_facts) for answer in asked)


def share(checks: Sequence[bool]) -> float:
    """How many of them hold, 0 to 1."""
    return fmean(checks)
