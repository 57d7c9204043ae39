"""What an assistant's operators decide on curating: how far people are believed, what is fit to teach, how much of it.

One class a stage, in the pipeline's order. Every default suits a deployment that reviews little.
"""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Policy(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_many(cls, values: Any) -> Any:
        """pydantic describes each unknown name: of a request full of them that takes gigabytes."""
        if isinstance(values, dict) and len(values) > len(cls.model_fields):
            unknown = next(name for name in values if name not in cls.model_fields)
            raise ValueError(f"'{str(unknown)[:50]}' is none of {', '.join(cls.model_fields)}")
        return values

    @model_validator(mode="after")
    def _numbers_can_be_told(self) -> Self:
        """JSON's readers know whole numbers up to 2⁵³."""
        for name, value in self:
            if isinstance(value, int) and abs(value) > 2**53:
                raise ValueError(f"{name} is larger than any number that could be meant")
        return self


class AgePolicy(Policy):
    """How long words hold."""

    correction_days: float | None = Field(None, gt=0, description="Days after which corrections retire; null: never.")
    choice_days: float | None = Field(None, gt=0, description="Days after which choices retire; null: never.")
    rating_days: float | None = Field(None, gt=0, description="Days after which ratings retire; null: never.")


class TrustPolicy(Policy):
    """How far people are believed."""

    min_voices: int = Field(
        2, ge=1, description="Contributors who must say so, independently, before a new fact is taught; or an operator."
    )
    min_compared: int = Field(
        8, ge=1, description="Votes on what others voted on, too, from which somebody's reliability is judged."
    )
    min_reliability: float = Field(
        0.55, ge=0, le=1, description="Reliability (0 to 1, by agreement with others) below which nobody is believed."
    )
    min_lockstep: int = Field(
        8,
        ge=3,
        description="Votes that three or more people must cast alike before they are held back as acting together.",
    )
    burst_rows_per_hour: int = Field(
        120, ge=1, description="More than this of one contributor in an hour is held back."
    )
    max_copies: int = Field(
        2,
        ge=1,
        description="Different questions that somebody may correct to one and the same text before it is held back.",
    )
    max_rows_per_contributor: int = Field(500, ge=1, description="Most rows of one contributor; the newest stay.")
    max_tokens_per_contributor: int = Field(
        100_000, ge=1, description="Most tokens, estimated, that one contributor teaches."
    )


class PrivacyPolicy(Policy):
    """What identifies people, and doesn't belong into what is taught."""

    replace_identifiers: bool = Field(
        True, description="Replace e-mail addresses, numbers, keys and the like by placeholders such as [EMAIL_1]."
    )
    keep: list[str] = Field(
        [], max_length=1000, description="Public identifiers that stay, such as the deployment's own address."
    )
    names: bool = Field(False, description="People's names too: needs the extra `names`, see docs/curation.md.")


class QualityPolicy(Policy):
    """What is fit to be taught. Replies rated bad teach what not to say: they may be unfit."""

    languages: list[str] = Field([], max_length=200, description="Languages taught, as ISO 639-1 codes; empty: all.")
    min_characters: int = Field(1, ge=1, description="Shortest text that is taught, in characters.")
    max_tokens: int = Field(2048, ge=1, description="Longest text that is taught, in tokens, estimated.")
    max_repetition: float = Field(
        4.0, gt=1, description="Highest zlib compression ratio of a taught text: prose has about 2, repetition more."
    )
    max_toxicity: float = Field(
        0.9,
        ge=0,
        le=1,
        description="Highest chance of offensive language in a taught text, by a word model for English.",
    )
    allow_refusals: bool = Field(False, description="Teach refusals from ratings and corrections. Choices always may.")


class ConflictPolicy(Policy):
    """Which of two contradictory words is believed."""

    margin: float = Field(2.0, ge=1, description="Trust one side must have over the other, as a ratio, to win.")
    recency_days: float = Field(
        30, gt=0, description="Where trust doesn't decide: days by which a side's last word must be newer to win."
    )


class DuplicatesPolicy(Policy):
    """What says the same. The same words always do; see also training.near_duplicate_similarity."""

    semantic_similarity: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Cosine of two training rows' embeddings from which they say the same in other words, if numbers, "
        "key facts and negations are equal; null: only words are compared. Needs the extra `semantic`.",
    )
    semantic_model: str = Field(
        "minishlab/potion-base-8M", min_length=1, description="The model2vec model that embeds: a folder or hub id."
    )


class BalancePolicy(Policy):
    """How much of one thing a dataset may have. Held-out rows are never left out for balance."""

    max_rows_per_question: int = Field(20, ge=1, description="Most training rows on nearly the same question.")
    max_tokens_per_question: int = Field(
        20_000, ge=1, description="Most tokens, estimated, on nearly the same question."
    )
    topics: int = Field(20, ge=1, description="Topic clusters that a dataset's questions are told apart by.")
    max_topic_share: float = Field(0.5, gt=0, le=1, description="Largest share of training rows on one topic.")
    max_language_share: float = Field(1.0, gt=0, le=1, description="Largest share of training rows in one language.")
    max_length_share: float = Field(
        1.0, gt=0, le=1, description="Largest share of training rows of one length (powers of four tokens)."
    )
    max_label_ratio: float = Field(
        4.0, ge=1, description="Most good ratings for each bad one among training rows, and the other way round."
    )
    min_rows: int = Field(200, ge=1, description="Training rows below which shares are left as they are.")


class AugmentPolicy(Policy):
    """More ways to ask for what was taught."""

    copies: int = Field(
        0, ge=0, le=8, description="Synthetic phrasings added for each taught question, in training rows only."
    )
    enough_phrasings: int = Field(
        4, ge=1, description="A fact that people asked for in so many ways gets no synthetic ones."
    )
