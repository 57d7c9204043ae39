"""What an evaluation found: `evaluation.json`, complete enough to judge again without a model.

Promises every measurement, row by row, under candidate and baseline alike. Leaves out the verdict, which follows
from this and a policy (verdict.py).
"""

import math
from typing import Literal

from pydantic import Field

from feedback.run_folder import Purpose, RunFolderModel
from feedback.states import GuardOutcome


class Measured(RunFolderModel):
    """One held-out correction under one version."""

    reply: str = Field(description="Greedy reply to the row's prompt.")
    recalled: bool | None = Field(description="Whether all key facts are in the reply; None: the row has none.")
    contrast: float | None = Field(
        description="Nats a token by which the right completion is likelier than other rows' (bounded, see metrics); "
        "None: no other topic's completion to compare with."
    )
    loss: float = Field(description="Mean negative log-probability of the right completion's tokens, in nats.")


class RowResult(RunFolderModel):
    id: str
    contributor: str | None
    cluster: str
    topic: str
    question: str = Field(description="The last user message.")
    expected: str
    key_facts: list[str]
    topic_trained: bool = Field(
        True, description="Whether a training row has the topic; False: it asks for what was never taught."
    )
    candidate: Measured
    baseline: Measured


class PairResult(RunFolderModel):
    """One held-out choice: log p(chosen) - log p(rejected), each a mean over its tokens, in nats."""

    id: str
    contributor: str | None
    cluster: str
    topic: str
    decides: bool = Field(
        description="False for a correction's pair (any change disprefers the corrected text), and for a choice of "
        "which one side alone is the baseline's own text."
    )
    chosen_characters: int = Field(0, ge=0, description="Length of the chosen reply.")
    rejected_characters: int = Field(0, ge=0, description="Length of the other one.")
    candidate_margin: float
    baseline_margin: float


class RatingResult(RunFolderModel):
    """One held-out rated reply: mean log-probability of its tokens, in nats."""

    id: str
    contributor: str | None = None
    topic: str = ""
    liked: bool
    decides: bool = Field(False, description="Whether more than one person's word stands behind it.")
    writer: str | None = Field(None, description="The version that wrote it; None: unknown.")
    characters: int = Field(0, ge=0)
    candidate: float
    baseline: float


class GuardMeasure(RunFolderModel):
    """One number that must not fall by `margin`; higher is better. Bounds are of candidate minus baseline."""

    what: str
    unit: str
    items: int
    candidate: float
    baseline: float
    difference: float
    lower: float
    upper: float
    margin: float
    nothing_to_lose: bool = Field(False, description="The baseline is so bad at it that not falling says nothing.")
    outcome: GuardOutcome


class GuardResult(RunFolderModel):
    name: str
    outcome: GuardOutcome
    detail: str = Field(description="In an operator's words; names no person.")
    measures: list[GuardMeasure] = []

    @property
    def complaint(self) -> str:
        """What failed, without what didn't."""
        failed = [one for one in self.measures if one.outcome == GuardOutcome.FAILED]
        return " ".join(map(_in_words, failed)) if 0 < len(failed) < len(self.measures) else self.detail

    @property
    def told_all(self) -> bool:
        """Whether everything that it asks could be measured, but for what there is nothing to lose of."""
        unknown = [
            one for one in self.measures if one.outcome == GuardOutcome.NOT_MEASURABLE and not one.nothing_to_lose
        ]
        return self.outcome == GuardOutcome.PASSED and not unknown

    @classmethod
    def of(cls, name: str, measures: "list[GuardMeasure]", nothing: str) -> "GuardResult":
        """Failed if one of the measures failed, passed if one passed; `nothing` says why there is none."""
        outcomes = {measure.outcome for measure in measures}
        if GuardOutcome.FAILED in outcomes:
            outcome = GuardOutcome.FAILED
        elif GuardOutcome.PASSED in outcomes:
            outcome = GuardOutcome.PASSED
        else:
            outcome = GuardOutcome.NOT_MEASURABLE
        return cls(name=name, outcome=outcome, detail=" ".join(map(_in_words, measures)) or nothing, measures=measures)


def _in_words(measure: GuardMeasure) -> str:
    said = {
        GuardOutcome.PASSED: f"a fall by {measure.margin:g} is ruled out",
        GuardOutcome.FAILED: f"it fell, and at most {measure.margin:g} is allowed",
        GuardOutcome.NOT_MEASURABLE: f"{measure.items} items of this kind can't tell a fall by {measure.margin:g}",
    }[measure.outcome]
    return (
        f"{measure.what}: {measure.baseline:.3f} to {measure.candidate:.3f} {measure.unit} "
        f"({measure.lower:+.3f} to {measure.upper:+.3f}): {said}."
    )


class Divergence(RunFolderModel):
    """How far each version has moved from the base on its own answers to prompts that no run trains on."""

    candidate: float = Field(ge=0, description="KL(base ‖ candidate), estimated, in nats a token.")
    baseline: float = Field(ge=0, description="The same for the baseline; 0: it is the base.")
    prompts: int
    tokens: int


class Sample(RunFolderModel):
    question: str
    expected: str
    before: str
    after: str


class GroupChange(RunFolderModel):
    """How a group of held-out rows changed: the mean gain in recall or contrast, of choices in accuracy."""

    by: str = Field(description="What the group is of: topic, language, length, taught, choices.")
    group: str
    rows: int
    gain: float


class Both(RunFolderModel):
    candidate: float
    baseline: float


class Cause(RunFolderModel):
    """A training row that may have caused a loss: the cosine of its gradient and the loss's."""

    row_id: str
    influence: float


class Change(Sample):
    """One row that changed: `gain` is 1 or -1 where its key facts came or went, else in contrast, nats a token."""

    id: str
    gain: float
    causes: list[Cause] = Field([], description="Training rows that most likely caused a loss, the likeliest first.")


class Evaluation(RunFolderModel):
    run_id: str
    assistant: str
    base_model: str
    baseline_base_model: str | None = Field(None, description="The baseline's, if it is another one.")
    dataset_sha256: str
    candidate_version: str
    baseline_version: str
    purpose: Purpose = "improve"
    tries: int = Field(1, description="Which candidate this is that was held against the baseline.")
    seed: int
    rows: list[RowResult]
    pairs: list[PairResult]
    ratings: list[RatingResult]
    guards: list[GuardResult]
    divergence: Divergence | None = Field(None, description="None: not measured.")
    samples: list[Sample] = Field(description="A few replies before and after, changed ones first.")
    text_metrics: dict[str, Both] = Field({}, description="BLEU, chrF, ROUGE-L …, over the held-out corrections.")
    groups: list[GroupChange] = Field([], description="Where it got better, and where worse.")
    worst: list[Change] = Field([], description="The rows that lost the most.")
    too_long: int = Field(0, description="Held-out rows that don't fit the model's context and weren't measured.")
    seconds: dict[Literal["load", "generate", "score", "guards", "divergence", "total"], float]

    def perplexity(self) -> tuple[float, float]:
        """Of general text, under (baseline, candidate); infinite where it couldn't be told."""
        for guard in self.guards:
            if guard.name == "general_perplexity" and guard.measures:
                measure = guard.measures[0]
                before, after = (math.exp(min(-mean, 700.0)) for mean in (measure.baseline, measure.candidate))
                return before, after
        return math.inf, math.inf
