"""Where a candidate got better and where worse: by topic, language, length and kind of prompt; and the worst losses.

Promises groups large enough to mean something, each with how many rows it is of, and single rows side by side.
Reported, never decided on: of many groups some differ by chance. Leaves out what caused it (influence.py).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from feedback.curate.looks import language_of
from feedback.evaluation_file import gain_between
from trainer.evaluation.lengths import stratum
from trainer.evaluation.record import Change, GroupChange, PairResult, RowResult

LEAST_ROWS = 5
"""A group of fewer says nothing."""
MOST_GROUPS = 6
"""Of each kind, those that changed the most."""
MOST_CHANGES = 10
CHOSEN = {1: "the longer reply chosen", -1: "the shorter reply chosen", 0: "a reply of about equal length chosen"}


def groups(rows: Sequence[RowResult], pairs: Sequence[PairResult]) -> list[GroupChange]:
    """Mean gain of each group: of rows as `gain_of` has it, of pairs in accuracy."""
    judged = [(row, gain) for row in rows if (gain := gain_of(row)) is not None]
    found: list[GroupChange] = []
    for by, label in KINDS.items():
        grouped: dict[str, list[float]] = defaultdict(list)
        for row, gain in judged:
            grouped[label(row)].append(gain)
        found += _largest(by, grouped.items())
    by_length: dict[str, list[float]] = defaultdict(list)
    for pair in pairs:
        if pair.decides:
            by_length[CHOSEN[stratum(pair.chosen_characters, pair.rejected_characters)]].append(gain_of_pair(pair))
    return [*found, *_largest("choices", by_length.items())]


def worst(rows: Sequence[RowResult]) -> list[Change]:
    """The rows that lost the most, the worst first."""
    return _changes(sorted(_with_gains(rows), key=lambda one: one[1]), lambda gain: gain < 0)


def gain_of(row: RowResult) -> float | None:
    return gain_between(row.key_facts, row.candidate.model_dump(), row.baseline.model_dump())


def gain_of_pair(pair: PairResult) -> float:
    return float(pair.candidate_margin > 0) - float(pair.baseline_margin > 0)


def _length(row: RowResult) -> str:
    words = len(row.question.split())
    return "short questions" if words <= 8 else "questions of 9 to 20 words" if words <= 20 else "long questions"


KINDS: dict[str, Callable[[RowResult], str]] = {
    "topic": lambda row: row.topic,
    "language": lambda row: language_of(row.question) or "unknown",
    "length": _length,
    "taught": lambda row: "topic in training" if row.topic_trained else "topic not in training",
}


def _largest(by: str, grouped: Iterable[tuple[str, list[float]]]) -> list[GroupChange]:
    enough = [(name, gains) for name, gains in grouped if len(gains) >= LEAST_ROWS]
    changes = [GroupChange(by=by, group=name, rows=len(gains), gain=sum(gains) / len(gains)) for name, gains in enough]
    chosen = sorted(changes, key=lambda one: -abs(one.gain))[:MOST_GROUPS]
    return sorted(chosen, key=lambda one: one.gain)


def _with_gains(rows: Sequence[RowResult]) -> list[tuple[RowResult, float]]:
    return [(row, gain) for row in rows if (gain := gain_of(row)) is not None]


def _changes(ordered: Sequence[tuple[RowResult, float]], counts: Callable[[float], bool]) -> list[Change]:
    return [
        Change(
            id=row.id,
            question=row.question,
            expected=row.expected,
            before=row.baseline.reply,
            after=row.candidate.reply,
            gain=gain,
        )
        for row, gain in ordered[:MOST_CHANGES]
        if counts(gain)
    ]
