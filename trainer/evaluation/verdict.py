"""From an evaluation and a policy to a verdict: pure arithmetic, the same wherever it runs.

Promises: an equal candidate is promoted with a chance of at most `alpha`; one that learned only a manner of
speaking isn't promoted for facts; too little data says so, with what it could have shown. Two families of
evidence can decide: corrections (held-out facts) and choices (held-out preferences).
Leaves out measuring (metrics.py, guards.py) and releasing.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from feedback.policies import VerdictPolicy
from feedback.states import VerdictWord
from trainer.evaluation.record import Evaluation, PairResult, RowResult
from trainer.evaluation.statistics import Difference, exact_mcnemar, paired_difference


@dataclass(frozen=True)
class Verdict:
    verdict: VerdictWord
    reasons: list[str]
    statistics: dict[str, Any]


@dataclass(frozen=True)
class Measure:
    """One number compared between the versions; `worthwhile` is the smallest gain worth a release."""

    name: str
    unit: str
    difference: Difference
    worthwhile: float
    tolerated: float = 0.0
    """How much it may fall and still not stand in the way of another measure; 0: it must be better itself."""

    @property
    def better(self) -> bool:
        return self.difference.lower > -self.tolerated

    @property
    def worse(self) -> bool:
        return self.difference.upper < -self.tolerated

    @property
    def ruled_out(self) -> bool:
        """No worthwhile gain is possible; a measure that need not gain can't be."""
        return not self.tolerated and self.difference.upper < self.worthwhile

    @property
    def praise(self) -> str:
        return f"no worse (a fall of {self.tolerated:g} is ruled out)" if self.tolerated else "better"

    @property
    def doubt(self) -> str:
        return f"may have fallen by {self.tolerated:g} or more" if self.tolerated else "could be chance"

    def __str__(self) -> str:
        d = self.difference
        return f"{self.name} {d.mean:+.3f} {self.unit} (bounds {d.lower:+.3f} to {d.upper:+.3f})"


@dataclass(frozen=True)
class Family:
    """Measures that must all hold for the family to be better (intersection-union test, Berger 1982)."""

    name: str
    measures: list[Measure]

    @property
    def better(self) -> bool:
        return all(measure.better for measure in self.measures)

    @property
    def worse(self) -> bool:
        return any(measure.worse for measure in self.measures)

    @property
    def ruled_out(self) -> bool:
        return any(measure.ruled_out for measure in self.measures)


def judge(evaluation: Evaluation, policy: VerdictPolicy) -> Verdict:
    """Guards, then evidence, then the decision."""
    statistics = descriptive(evaluation)
    failed = [guard for guard in evaluation.guards if not guard.passed]
    if failed:
        return Verdict(
            VerdictWord.BLOCKED, [f"Guard {guard.name} failed: {guard.detail}" for guard in failed], statistics
        )

    enough_rows, why_no_rows = _enough(evaluation.rows, policy.min_gate_rows, "held-out corrections", policy)
    deciding = [pair for pair in evaluation.pairs if pair.decides]
    enough_pairs, why_no_pairs = _enough(deciding, policy.min_gate_pairs, "held-out choices", policy)
    alpha = policy.alpha / max(1, enough_rows + enough_pairs)  # Bonferroni over the families that decide
    compared = [
        *([_corrections(evaluation.rows, policy, alpha, evaluation.seed)] if evaluation.rows else []),
        *([_choices(deciding, policy, alpha, evaluation.seed)] if deciding else []),
    ]
    decides = {"corrections": enough_rows, "choices": enough_pairs}
    families = [family for family in compared if family.measures]
    deciders = [family for family in families if decides[family.name]]
    statistics |= {
        "alpha_per_family": alpha,
        "families": {
            family.name: {
                "decides": decides[family.name],
                "better": family.better,
                "worse": family.worse,
                "measures": {m.name: asdict(m.difference) | {"worthwhile": m.worthwhile} for m in family.measures},
            }
            for family in families
        },
    }
    too_small = [why for why in (why_no_rows, why_no_pairs) if why]
    return _decide(families, deciders, too_small, statistics)


def _decide(
    families: list[Family], deciders: list[Family], too_small: list[str], statistics: dict[str, Any]
) -> Verdict:
    if not deciders:
        reasons = [*too_small, *(_detectable(measure) for family in families for measure in family.measures)]
        return Verdict(VerdictWord.INCONCLUSIVE, reasons or ["Nothing was held out to judge by."], statistics)
    worse = [family for family in deciders if family.worse]
    if worse:
        lost = [f"{measure} is worse." for family in worse for measure in family.measures if measure.worse]
        return Verdict(VerdictWord.REJECT, lost, statistics)
    better = [family for family in deciders if family.better]
    if better:
        won = [f"{measure} is {measure.praise}." for family in better for measure in family.measures]
        return Verdict(VerdictWord.PROMOTE, won, statistics)
    if all(family.ruled_out for family in deciders):
        small = [
            f"{measure}: a gain of {measure.worthwhile:g} or more is ruled out."
            for family in deciders
            for measure in family.measures
            if measure.ruled_out
        ]
        return Verdict(VerdictWord.REJECT, small, statistics)
    open_questions = [
        f"{measure} {measure.doubt}. {_detectable(measure)}"
        for family in deciders
        for measure in family.measures
        if not measure.better
    ]
    return Verdict(VerdictWord.INCONCLUSIVE, open_questions, statistics)


def descriptive(evaluation: Evaluation) -> dict[str, Any]:
    """Reported, never decided on: counts, plain loss, pairs that don't decide, rated replies, McNemar's p; the recall
    of topics that no training row has, which is a harder test than a new phrasing of what was taught."""
    rows = evaluation.rows
    with_facts = [row for row in rows if row.key_facts]
    untrained = [row for row in with_facts if not row.topic_trained]
    gained = sum(bool(row.candidate.recalled) and not row.baseline.recalled for row in with_facts)
    lost = sum(bool(row.baseline.recalled) and not row.candidate.recalled for row in with_facts)
    contrasts = [row for row in rows if row.candidate.contrast is not None and row.baseline.contrast is not None]
    return {
        "gate_rows": len(rows),
        "gate_contributors": _named_contributors([*rows, *evaluation.pairs]),
        "rows_with_key_facts": len(with_facts),
        "recall": _recall(with_facts),
        "rows_of_untrained_topics": len(untrained),
        "recall_of_untrained_topics": _recall(untrained),
        "recall_mcnemar": {"gained": gained, "lost": lost, "p_value": exact_mcnemar(gained, lost)},
        "contrast": _both(contrasts, lambda row: row.candidate.contrast, lambda row: row.baseline.contrast),
        "loss": _both(rows, lambda row: row.candidate.loss, lambda row: row.baseline.loss),
        "choices": _accuracy([pair for pair in evaluation.pairs if pair.decides]),
        "other_pairs": _accuracy([pair for pair in evaluation.pairs if not pair.decides]),
        "liked_minus_disliked": _liked_minus_disliked(evaluation),
    }


def _corrections(rows: Sequence[RowResult], policy: VerdictPolicy, alpha: float, seed: int) -> Family:
    with_facts = [row for row in rows if row.key_facts]
    measures = []
    voices = _named_contributors(with_facts)
    if len(with_facts) >= policy.min_key_fact_rows and voices >= policy.min_gate_contributors:
        recall = [float(bool(row.candidate.recalled)) - float(bool(row.baseline.recalled)) for row in with_facts]
        measures.append(_measure("key-fact recall", "of rows", recall, with_facts, policy, alpha, seed))
    contrasts = [row for row in rows if row.candidate.contrast is not None and row.baseline.contrast is not None]
    if contrasts:
        gains = [(row.candidate.contrast or 0.0) - (row.baseline.contrast or 0.0) for row in contrasts]
        contrast = _measure("contrast", "nats a token", gains, contrasts, policy, alpha, seed)
        # What is generated decides where that can be told; contrast must then not have fallen. Else it decides itself.
        measures.append(replace(contrast, tolerated=policy.max_contrast_loss) if measures else contrast)
    return Family("corrections", measures)


def _choices(pairs: Sequence[PairResult], policy: VerdictPolicy, alpha: float, seed: int) -> Family:
    gains = [float(pair.candidate_margin > 0) - float(pair.baseline_margin > 0) for pair in pairs]
    return Family("choices", [_measure("choice accuracy", "of pairs", gains, pairs, policy, alpha, seed)])


def _measure(
    name: str,
    unit: str,
    gains: Sequence[float],
    rows: Sequence[RowResult | PairResult],
    policy: VerdictPolicy,
    alpha: float,
    seed: int,
) -> Measure:
    worthwhile = {
        "key-fact recall": policy.min_recall_gain,
        "contrast": policy.min_contrast_gain,
        "choice accuracy": policy.min_choice_gain,
    }[name]
    difference = paired_difference(
        gains,
        [row.contributor if row.contributor is not None else ("anonymous", row.cluster) for row in rows],
        [row.topic for row in rows],
        alpha=alpha,
        resamples=policy.bootstrap_resamples,
        seed=seed,
    )
    return Measure(name, unit, difference, worthwhile)


def _enough(
    rows: Sequence[RowResult | PairResult], least: int, what: str, policy: VerdictPolicy
) -> tuple[bool, str | None]:
    """Whether a family may decide, and if it has something to say but may not, why."""
    named = _named_contributors(rows)
    if rows and len(rows) < least:
        return False, f"Only {len(rows)} {what}; {least} are needed to decide."
    if rows and named < policy.min_gate_contributors:
        return False, f"The {what} come from {named} contributors; {policy.min_gate_contributors} are needed."
    return bool(rows), None


def _detectable(measure: Measure) -> str:
    return f"This much data finds a change in {measure.name} of {measure.difference.minimum_detectable:.3f} or more."


def _named_contributors(rows: Sequence[RowResult | PairResult]) -> int:
    """Anonymous rows count as rows, never as independent voices."""
    return len({row.contributor for row in rows if row.contributor is not None})


def _recall(rows: Sequence[RowResult]) -> dict[str, float] | None:
    return _both(rows, lambda row: bool(row.candidate.recalled), lambda row: bool(row.baseline.recalled))


def _both(
    rows: Sequence[RowResult],
    candidate: Callable[[RowResult], float | None],
    baseline: Callable[[RowResult], float | None],
) -> dict[str, float] | None:
    if not rows:
        return None
    return {
        "candidate": sum(candidate(row) or 0.0 for row in rows) / len(rows),
        "baseline": sum(baseline(row) or 0.0 for row in rows) / len(rows),
    }


def _accuracy(pairs: Sequence[PairResult]) -> dict[str, float] | None:
    if not pairs:
        return None
    return {
        "pairs": len(pairs),
        "candidate": sum(pair.candidate_margin > 0 for pair in pairs) / len(pairs),
        "baseline": sum(pair.baseline_margin > 0 for pair in pairs) / len(pairs),
    }


def _liked_minus_disliked(evaluation: Evaluation) -> dict[str, float] | None:
    """How much likelier (nats a token) liked replies became than disliked ones."""
    change = {
        liked: [r.candidate - r.baseline for r in evaluation.ratings if r.liked is liked] for liked in (True, False)
    }
    if not change[True] or not change[False]:
        return None
    return {
        "liked": len(change[True]),
        "disliked": len(change[False]),
        "gain": sum(change[True]) / len(change[True]) - sum(change[False]) / len(change[False]),
    }
