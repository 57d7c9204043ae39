"""From an evaluation and a policy to a verdict: pure arithmetic, the same wherever it runs.

Promises: of all candidates held against one baseline, however many, an equal one is promoted with a chance of at most
`alpha` (each try has its share of it); one that learned only a manner of speaking, or a length, isn't promoted for
facts, or choices; too little data says so, with what it could have shown. Three families of evidence can decide:
corrections (held-out facts), choices (held-out preferences) and ratings that more than one person gave. Leaves out
measuring (metrics.py, guards.py) and releasing.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, median
from typing import Any

from feedback.policies import VerdictPolicy
from feedback.states import GuardOutcome, VerdictWord
from trainer.evaluation.lengths import rated_stratum, rated_weights, weights
from trainer.evaluation.metrics import CONTRAST_BOUND, bounded
from trainer.evaluation.record import Evaluation, PairResult, RatingResult, RowResult
from trainer.evaluation.statistics import (
    Difference,
    alpha_of_try,
    exact_mcnemar,
    more_gained_than_lost,
    paired_difference,
)

NOBODY = ("anonymous",)
LENGTH_ALONE = (
    "In nearly all held-out choices people took the longer reply, or in nearly all the shorter one: a candidate that "
    "learned a length alone would look better by them, so they don't decide."
)
NOTHING_ALIKE = (
    "Hardly any held-out liked reply has a disliked one about the same, of its length and by the same writer, to be "
    "held against: ratings don't decide."
)
Rows = Sequence[RowResult] | Sequence[PairResult] | Sequence[RatingResult]


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
    plain: Difference
    """With bounds that nothing was taken off: what is told to be worse doesn't depend on how often one tried."""
    worthwhile: float
    tolerated: float = 0.0
    """How much it may fall and still not stand in the way of another measure; 0: it must be better itself."""
    by_chance: bool = False
    """Whether, of a yes or no, the exact test finds that so many more gained than lost could be chance."""

    @property
    def better(self) -> bool:
        return self.difference.lower > -self.tolerated and not self.by_chance

    @property
    def worse(self) -> bool:
        return self.plain.upper < -self.tolerated

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
    """Evidence, then guards, then the decision: what was gained is told even where a guard blocks it."""
    statistics = descriptive(evaluation)
    enough_rows, why_no_rows = _enough(evaluation.rows, policy.min_gate_rows, "held-out corrections", policy)
    deciding = [pair for pair in evaluation.pairs if pair.decides]
    enough_pairs, why_no_pairs = _enough(deciding, policy.min_gate_pairs, "held-out choices", policy)
    if enough_pairs and weights([(one.chosen_characters, one.rejected_characters) for one in deciding]) is None:
        enough_pairs, why_no_pairs = False, LENGTH_ALONE
    rated = [rating for rating in evaluation.ratings if rating.decides]
    alike, shares = _comparable(rated)
    enough_ratings, why_no_ratings = _enough(alike, policy.min_gate_ratings, "comparable held-out ratings", policy)
    if rated and not alike:
        enough_ratings, why_no_ratings = False, NOTHING_ALIKE
    replaces = evaluation.purpose == "replace"
    # Bonferroni over the families that decide; all of them must hold where none may be worse, which needs none
    families_deciding = 1 if replaces else max(1, enough_rows + enough_pairs + enough_ratings)
    alpha = alpha_of_try(policy.alpha, evaluation.tries) / families_deciding
    compared = [
        *([_corrections(evaluation.rows, policy, alpha, replaces)] if evaluation.rows else []),
        *([_choices(deciding, policy, alpha, replaces)] if deciding else []),
        *([_ratings(alike, shares, policy, alpha, replaces)] if alike else []),
    ]
    decides = {"corrections": enough_rows, "choices": enough_pairs, "ratings": enough_ratings}
    families = [family for family in compared if family.measures]
    deciders = [family for family in families if decides[family.name]]
    statistics |= {
        "tries": evaluation.tries,
        "alpha_per_family": alpha,
        "families": {
            family.name: {
                "decides": decides[family.name],
                "better": family.better,
                "worse": family.worse,
                "measures": {
                    m.name: asdict(m.difference) | {"worthwhile": m.worthwhile, "tolerated": m.tolerated}
                    for m in family.measures
                },
            }
            for family in families
        },
    }
    if blocking := _blocking(evaluation, policy):
        return Verdict(VerdictWord.BLOCKED, blocking, statistics)
    too_small = [why for why in (why_no_rows, why_no_pairs, why_no_ratings) if why]
    return _decide(families, deciders, too_small, statistics, everything=replaces)


def _blocking(evaluation: Evaluation, policy: VerdictPolicy) -> list[str]:
    blocking = [
        f"Guard {guard.name} failed: {guard.complaint}"
        for guard in evaluation.guards
        if guard.outcome == GuardOutcome.FAILED
    ]
    asked = {guard.name: guard for guard in evaluation.guards}
    for name in policy.required_guards:
        if (guard := asked.get(name)) is None:
            blocking.append(f"Guard {name} is required (verdict.required_guards) and wasn't asked.")
        elif guard.outcome != GuardOutcome.FAILED and not guard.told_all:
            blocking.append(f"Guard {name} is required (verdict.required_guards) and can't be measured: {guard.detail}")
    return blocking


def _decide(
    families: list[Family],
    deciders: list[Family],
    too_small: list[str],
    statistics: dict[str, Any],
    *,
    everything: bool,
) -> Verdict:
    """`everything`: all deciders must hold, rather than one of them."""
    if not deciders:
        reasons = [*too_small, *(_detectable(measure) for family in families for measure in family.measures)]
        return Verdict(VerdictWord.INCONCLUSIVE, reasons or ["Nothing was held out to judge by."], statistics)
    worse = [family for family in families if family.worse]  # also one that is too small to speak in favour
    if worse:
        lost = [f"{measure} is worse." for family in worse for measure in family.measures if measure.worse]
        return Verdict(VerdictWord.REJECT, lost, statistics)
    better = [family for family in deciders if family.better]
    if better and (len(better) == len(deciders) or not everything):
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
        "guards": {guard.name: guard.outcome.value for guard in evaluation.guards},
    }


def _corrections(rows: Sequence[RowResult], policy: VerdictPolicy, alpha: float, replaces: bool) -> Family:
    with_facts = [row for row in rows if row.key_facts]
    measures = []
    voices = _named_contributors(with_facts)
    if len(with_facts) >= policy.min_key_fact_rows and voices >= policy.min_gate_contributors:
        recall = [float(bool(row.candidate.recalled)) - float(bool(row.baseline.recalled)) for row in with_facts]
        alphas = (alpha, policy.alpha)
        measure = _of_yes_and_no("key-fact recall", "of rows", recall, with_facts, policy.min_recall_gain, alphas)
        measures.append(_no_worse(measure, policy.max_recall_loss) if replaces else measure)
    contrasts = [row for row in rows if row.candidate.contrast is not None and row.baseline.contrast is not None]
    if contrasts:
        gains = [(row.candidate.contrast or 0.0) - (row.baseline.contrast or 0.0) for row in contrasts]
        # What is generated decides where that can be told; contrast must then not have fallen. Else it decides itself.
        tolerated = policy.max_contrast_loss if measures or replaces else 0.0
        strict, plain = (_difference(gains, contrasts, one) for one in (alpha, policy.alpha))
        measures.append(Measure("contrast", "nats a token", strict, plain, policy.min_contrast_gain, tolerated))
    return Family("corrections", measures)


def _choices(pairs: Sequence[PairResult], policy: VerdictPolicy, alpha: float, replaces: bool) -> Family:
    gains = [float(pair.candidate_margin > 0) - float(pair.baseline_margin > 0) for pair in pairs]
    lengths = [(pair.chosen_characters, pair.rejected_characters) for pair in pairs]
    alphas = (alpha, policy.alpha)
    measure = _of_yes_and_no(
        "choice accuracy", "of pairs", gains, pairs, policy.min_choice_gain, alphas, weights(lengths)
    )
    return Family("choices", [_no_worse(measure, policy.max_choice_loss) if replaces else measure])


def _comparable(rated: Sequence[RatingResult]) -> tuple[list[RatingResult], list[float]]:
    """Those that have a counterpart, and what each weighs."""
    shares = rated_weights([_alike(one) for one in rated], [one.liked for one in rated]) or [0.0] * len(rated)
    kept = [(one, share) for one, share in zip(rated, shares, strict=True) if share]
    return [one for one, _ in kept], [share for _, share in kept]


def _ratings(
    rated: Sequence[RatingResult], shares: Sequence[float], policy: VerdictPolicy, alpha: float, replaces: bool
) -> Family:
    """How much likelier liked replies became than disliked ones; what became of all that are alike counts for nothing.

    A difference of two means, as one mean: twice each reply's change against the middle of its stratum, the other way
    round for disliked ones. Bounded around that middle: all that are alike may have moved far.
    """
    strata = defaultdict[Hashable, list[int]](list)
    for place, one in enumerate(rated):
        strata[_alike(one)].append(place)
    gains = [0.0] * len(rated)
    for places in strata.values():
        changes = {place: rated[place].candidate - rated[place].baseline for place in places}
        middle = median(changes.values())
        near = {place: bounded(change - middle, CONTRAST_BOUND) for place, change in changes.items()}
        mean = fmean(near.values(), [shares[place] for place in places])
        for place in places:
            gains[place] = (2 if rated[place].liked else -2) * (near[place] - mean)
    strict, plain = (_difference(gains, rated, one, shares) for one in (alpha, policy.alpha))
    tolerated = policy.max_contrast_loss if replaces else 0.0
    return Family(
        "ratings", [Measure("liked over disliked", "nats a token", strict, plain, policy.min_rating_gain, tolerated)]
    )


def _alike(one: RatingResult) -> Hashable:
    return rated_stratum(one.topic, one.writer, one.characters)


def _no_worse(measure: Measure, tolerated: float) -> Measure:
    """Non-inferiority by a margin: for a version that only has to take another's place."""
    return replace(measure, tolerated=tolerated, by_chance=False)


def _of_yes_and_no(
    name: str,
    unit: str,
    gains: Sequence[float],
    rows: Rows,
    worthwhile: float,
    alphas: tuple[float, float],
    shares: Sequence[float] | None = None,
) -> Measure:
    """Bounds as of any mean; few changes, or a strict alpha, are beyond what a bound is good for: then they count."""
    gained, lost = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    strict, plain = (_difference(gains, rows, alpha, shares) for alpha in alphas)
    return Measure(name, unit, strict, plain, worthwhile, by_chance=more_gained_than_lost(gained, lost) > alphas[0])


def _difference(
    gains: Sequence[float],
    rows: Rows,
    alpha: float,
    shares: Sequence[float] | None = None,
) -> Difference:
    """Anonymous rows are one voice, whoever gave them."""
    return paired_difference(
        gains,
        [row.contributor if row.contributor is not None else NOBODY for row in rows],
        [row.topic for row in rows],
        alpha=alpha,
        weights=shares,
    )


def _enough(rows: Rows, least: int, what: str, policy: VerdictPolicy) -> tuple[bool, str | None]:
    """Whether a family may decide, and if it has something to say but may not, why."""
    named = _named_contributors(rows)
    if rows and len(rows) < least:
        return False, f"Only {len(rows)} {what}; {least} are needed to decide."
    if rows and named < policy.min_gate_contributors:
        return False, f"The {what} come from {named} contributors; {policy.min_gate_contributors} are needed."
    return bool(rows), None


def _detectable(measure: Measure) -> str:
    return f"This much data finds a change in {measure.name} of {measure.difference.minimum_detectable:.3f} or more."


def _named_contributors(rows: Sequence[RowResult | PairResult | RatingResult]) -> int:
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
