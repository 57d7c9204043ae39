"""How near replies come to the right ones, by the measures that a task is usually told by: reported, never decided on.

BLEU and chrF (sacrebleu), ROUGE-L, perplexity of the right reply; and, where the right replies are a few labels that
come again and again, accuracy, precision, recall and F1 (averaged over the labels). Chinese is cut into characters.
"""

import math
from collections.abc import Sequence
from statistics import fmean

from feedback.key_facts import normalise
from trainer.evaluation.record import Both, RowResult
from trainer.recipes.metrics import Pieces, classification

MOST_LABELS = 12
ROWS_A_LABEL = 4
"""Fewer rows for each different right reply, and they are no labels."""


def text_metrics(rows: Sequence[RowResult]) -> dict[str, Both]:
    """Measure's name → both versions' number, over all rows."""
    if not rows:
        return {}
    right = [row.expected for row in rows]
    sides = [_of([row.candidate.reply for row in rows], right), _of([row.baseline.reply for row in rows], right)]
    sides[0]["perplexity of the right reply"] = math.exp(min(fmean(row.candidate.loss for row in rows), 50.0))
    sides[1]["perplexity of the right reply"] = math.exp(min(fmean(row.baseline.loss for row in rows), 50.0))
    return {name: Both(candidate=value, baseline=sides[1][name]) for name, value in sides[0].items()}


def _of(said: Sequence[str], right: Sequence[str]) -> dict[str, float]:
    import sacrebleu
    from rouge_score.rouge_scorer import RougeScorer

    rouge = RougeScorer(["rougeL"], tokenizer=Pieces())
    cut = [" ".join(Pieces().tokenize(text)) for text in (*said, *right)]
    replies, expected = cut[: len(said)], cut[len(said) :]
    found = {
        "BLEU": float(sacrebleu.corpus_bleu(replies, [expected], tokenize="none").score),
        "chrF": float(sacrebleu.corpus_chrf(list(said), [list(right)]).score),
        "ROUGE-L": fmean(rouge.score(one, other)["rougeL"].fmeasure for one, other in zip(right, said, strict=True)),
    }
    labels = [_label(text) for text in right]
    if len(set(labels)) <= MOST_LABELS and len(right) >= ROWS_A_LABEL * len(set(labels)):
        found |= classification([text if text in labels else None for text in map(_label, said)], labels)
    return found


def _label(text: str) -> str:
    return normalise(text).strip(" .!。！")
