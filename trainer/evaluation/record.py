"""What an evaluation found: `evaluation.json`, complete enough to judge again without a model.

Promises every measurement, row by row, under candidate and baseline alike. Leaves out the verdict, which follows
from this and a policy (verdict.py).
"""

from typing import Literal

from pydantic import Field

from feedback.run_folder import RunFolderModel


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
        description="False for a correction's pair (any change disprefers the corrected text), and for a choice whose "
        "rejected side alone is the baseline's own text."
    )
    candidate_margin: float
    baseline_margin: float


class RatingResult(RunFolderModel):
    """One held-out rated reply: mean log-probability of its tokens, in nats."""

    id: str
    liked: bool
    candidate: float
    baseline: float


class GuardResult(RunFolderModel):
    name: str
    passed: bool
    detail: str
    candidate: float | None = None
    baseline: float | None = None


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


class Evaluation(RunFolderModel):
    run_id: str
    assistant: str
    base_model: str
    dataset_sha256: str
    candidate_version: str
    baseline_version: str
    seed: int
    rows: list[RowResult]
    pairs: list[PairResult]
    ratings: list[RatingResult]
    guards: list[GuardResult]
    divergence: Divergence | None = Field(None, description="None: not measured.")
    samples: list[Sample] = Field(description="A few replies before and after, changed ones first.")
    too_long: int = Field(0, description="Held-out rows that don't fit the model's context and weren't measured.")
    seconds: dict[Literal["load", "generate", "score", "guards", "divergence", "total"], float]
