"""What an assistant's operators decide: what people are asked, when to train, what counts as better, who promotes.

Stored as JSON on the assistant; every field has a default that suits the bundled model. Leaves out how
a run trains (hyperparameters.py) and the deployment's settings (config.py).
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from feedback import schedule as cron
from feedback.collect.kinds import MAX_TAG
from feedback.curation_policies import (
    AgePolicy,
    AugmentPolicy,
    BalancePolicy,
    ConflictPolicy,
    DuplicatesPolicy,
    Policy,
    PrivacyPolicy,
    QualityPolicy,
    TrustPolicy,
)
from feedback.hyperparameters import SERVED, Hyperparameters

Tag = Annotated[str, Field(min_length=1, max_length=MAX_TAG)]
Changes = dict[str, dict[str, Any]]
"""Section → setting → value: a part of Policies."""


class TrainingPolicy(Policy):
    """When a run is due, and how its data is split."""

    min_new_feedback: int = Field(300, ge=1, description="New corrections and preferences that make a run due.")
    min_seconds_between_runs: float = Field(
        3600,
        ge=0,
        description="Seconds that must pass between one run's request (or a failed one's end) and the next by policy.",
    )
    schedule: str | None = Field(
        None,
        max_length=100,
        description="Cron expression, in UTC, of when a run is due if anything new was said by then; null: never.",
    )
    dev_fraction: float = Field(
        0.1, ge=0, le=0.5, description="Share of contributors (else question clusters) in dev, for early stopping."
    )
    gate_fraction: float = Field(
        0.1, gt=0, le=0.8, description="Share of contributors (else question clusters) whose rows judge."
    )
    sealed_fraction: float = Field(
        0.0, ge=0, le=0.5, description="Share of contributors whose words no run sees: for audits."
    )
    near_duplicate_similarity: float = Field(
        0.8,
        gt=0,
        le=1,
        description="Jaccard similarity of character 5-grams from which two questions are nearly the same.",
    )
    methods: list[Literal["sft", "dpo", "kto"]] = Field(
        ["sft", "dpo", "kto"],
        min_length=1,
        description="What may run, always in this order: SFT, then DPO, or KTO where DPO may not or has too few pairs.",
    )
    max_preference_pairs: int = Field(
        2000,
        ge=0,
        description="Most DPO pairs a run trains on, choices first. It bounds a run's time: a pair costs as two rows.",
    )
    min_preference_pairs: int = Field(8, ge=1, description="Fewer training pairs than this skip DPO.")
    min_ratings: int = Field(16, ge=2, description="KTO runs when pairs are too few and there are this many ratings.")

    @field_validator("schedule")
    @classmethod
    def _schedule_is_right(cls, expression: str | None) -> str | None:
        if expression is not None:
            cron.check(expression)
        return expression


class VerdictPolicy(Policy):
    """What counts as better, and what must not get worse."""

    alpha: float = Field(0.05, gt=0, lt=0.5, description="Chance of calling an equal candidate better.")
    min_gate_rows: int = Field(60, ge=1, description="Fewer gate rows than this are INCONCLUSIVE.")
    min_gate_contributors: int = Field(12, ge=1, description="Fewer gate contributors than this are INCONCLUSIVE.")
    min_gate_pairs: int = Field(50, ge=1, description="Fewer held-out choices than this are reported, not decided on.")
    min_key_fact_rows: int = Field(
        20,
        ge=1,
        description="Fewer gate rows with key facts than this: their recall only is reported.",
    )
    min_recall_gain: float = Field(
        0.05, ge=0, description="Smallest gain in key-fact recall worth a release: REJECT when it is ruled out."
    )
    min_contrast_gain: float = Field(
        0.05, ge=0, description="Smallest gain in contrast, in nats a token, worth a release."
    )
    max_contrast_loss: float = Field(
        0.1,
        gt=0,
        le=0.5,
        description="Where key facts decide: how far contrast, in nats a token, may fall and not stand in the way.",
    )
    min_choice_gain: float = Field(0.05, ge=0, description="Smallest gain in choice accuracy worth a release.")
    bootstrap_resamples: int = Field(2000, ge=200, description="Resamples of the clustered bootstrap.")
    max_perplexity_increase: float = Field(
        0.10, gt=0, description="Largest relative rise of general-text perplexity over the baseline's."
    )
    max_new_tokens: int = Field(48, ge=1, description="Tokens generated for each gate prompt.")


class ReleasePolicy(Policy):
    promotion: Literal["auto", "manual"] = Field(
        "manual", description="Who promotes. auto: a PROMOTE verdict goes live by itself; manual: an operator confirms."
    )


class ReviewPolicy(Policy):
    """How people look at what was said."""

    second_opinion_fraction: float = Field(
        0.0, ge=0, le=1, description="Share of what is decided on that a second person must decide on, unseen; by hash."
    )
    claim_seconds: float = Field(
        900, gt=0, le=86_400, description="Seconds that somebody who took an entry of the queue has it for themselves."
    )


class RetentionPolicy(Policy):
    message_days: int | None = Field(
        None,
        ge=1,
        le=36_500,
        description="Days after its last message that a conversation is kept, with all feedback on it; null: for ever.",
    )


class SurveyQuestion(Policy):
    """What a survey asks. Answers go by `id`, so it stays for as long as the question means the same."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$", description="What its answers go by.")
    text: str = Field(min_length=1, max_length=500, description="The question, as people read it.")
    kind: Literal["csat", "text", "choice"] = Field(
        description="What an answer is. csat: 1 to 5; text: free words; choice: one of the options."
    )
    options: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(
        [], max_length=20, description="What a choice is between; two or more."
    )

    @model_validator(mode="after")
    def _options_fit(self) -> Self:
        if self.kind != "choice" and self.options:
            raise ValueError(f"'{self.id}' is no choice: leave its options out")
        if self.kind == "choice" and len(self.options) < 2:
            raise ValueError(f"'{self.id}' is a choice: give it two options or more")
        _no_repeats(self.options)
        return self

    def __str__(self) -> str:
        answers = {"csat": "1 to 5", "text": "words", "choice": " | ".join(self.options)}
        return f"{self.id}: {self.text} ({answers[self.kind]})"


class CollectPolicy(Policy):
    """What people are asked, and what may be said."""

    tags: list[Tag] = Field([], max_length=100, description="Tags that feedback may have; none: any.")
    anonymous: bool = Field(True, description="Whether feedback is taken from givers who stay anonymous.")
    survey: list[SurveyQuestion] = Field(
        [],
        max_length=20,
        description="Questions, each with id, text, kind (csat, text, choice) and a choice's options.",
    )
    survey_after_replies: int = Field(
        3, ge=1, description="Replies in a conversation after which the survey is due; regenerated ones count once."
    )
    comparison: Literal["same", "previous"] = Field(
        "same",
        description="Who writes a comparison's two replies. same: the version that serves, twice; previous: that one "
        "and the one it replaced.",
    )

    @field_validator("tags")
    @classmethod
    def _tags_differ(cls, tags: list[str]) -> list[str]:
        return _no_repeats(tags)

    @field_validator("survey")
    @classmethod
    def _ids_differ(cls, survey: list[SurveyQuestion]) -> list[SurveyQuestion]:
        _no_repeats(question.id for question in survey)
        return survey


class Policies(Policy):
    collect: CollectPolicy = CollectPolicy()
    training: TrainingPolicy = TrainingPolicy()
    age: AgePolicy = AgePolicy()
    trust: TrustPolicy = TrustPolicy()
    privacy: PrivacyPolicy = PrivacyPolicy()
    quality: QualityPolicy = QualityPolicy()
    conflicts: ConflictPolicy = ConflictPolicy()
    duplicates: DuplicatesPolicy = DuplicatesPolicy()
    balance: BalancePolicy = BalancePolicy()
    augment: AugmentPolicy = AugmentPolicy()
    hyperparameters: Hyperparameters = Hyperparameters()
    verdict: VerdictPolicy = VerdictPolicy()
    release: ReleasePolicy = ReleasePolicy()
    review: ReviewPolicy = ReviewPolicy()
    retention: RetentionPolicy = RetentionPolicy()

    @field_validator("hyperparameters")
    @classmethod
    def _adapters_can_be_served(cls, hyperparameters: Hyperparameters) -> Hyperparameters:
        """Said when it is set: hours of training that end in an adapter that can't go live help nobody."""
        if hyperparameters.peft_type not in SERVED:
            raise ValueError(
                f"peft_type {hyperparameters.peft_type} can't be served beside other versions: take one of "
                f"{', '.join(SERVED)}. To try it, set it in the run.json of a run's folder and `burnish run` that"
            )
        return hyperparameters


def _no_repeats(words: Iterable[str]) -> list[str]:
    listed = list(words)
    repeated = next((word for word in listed if listed.count(word) > 1), None)
    if repeated is not None:
        raise ValueError(f"'{repeated}' is there twice")
    return listed
