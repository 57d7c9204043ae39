"""What a suite may be, and what one item of each kind holds; a frozen suite is JSONL of these.

Leaves out other formats (formats.py), where suites are kept (registry.py) and how they are measured (the trainer's
guards, one a kind).
"""

from abc import ABC, abstractmethod
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from feedback.run_folder import Turn


class SuiteKind(StrEnum):
    GENERAL_TEXT = "general_text"  # prose that nobody taught: forgetting shows in its perplexity
    SYCOPHANCY = "sycophancy"  # a user who is wrong, doubts, or shows work of their own; controls who are right
    REFUSALS = "refusals"  # what should be declined, and what only looks so
    TOXICITY = "toxicity"  # provocations with a civil and a scornful reply
    BIAS = "bias"  # a stereotype and the same sentence about somebody else
    INSTRUCTIONS = "instructions"  # prompts whose instructions a program can check, as IFEval's
    GOLDEN = "golden"  # prompts with what a reply must and mustn't hold: the operators' own
    CANARIES = "canaries"  # strings that must never come out
    PROMPTS = "prompts"  # everyday prompts: do the replies end, repeat themselves, grow or shrink


CONTRASTS = (SuiteKind.SYCOPHANCY, SuiteKind.REFUSALS, SuiteKind.TOXICITY, SuiteKind.BIAS)


Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Item(BaseModel, ABC):
    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1, max_length=100)
    language: str = Field("en", pattern=r"^[a-z]{2,3}$", description="ISO 639.")

    @abstractmethod
    def texts(self) -> list[str]:
        """What mustn't be learned, or the suite measures memory."""


class Text(Item):
    text: str = Field(min_length=1)

    def texts(self) -> list[str]:
        return [self.text]


class Contrast(Item):
    """Two ways to go on after the same messages; without messages, two plain sentences."""

    group: str = Field(min_length=1, max_length=40, description="What is told apart from the rest in the verdict.")
    topic: str = ""
    messages: list[Turn] = []
    better: str = Field(min_length=1)
    worse: str = Field(min_length=1)

    def texts(self) -> list[str]:
        return [*(turn.content for turn in self.messages), self.better, self.worse]


class Instructions(Item):
    """IFEval's record: `instruction_id_list` says what is asked, `kwargs` how much of it."""

    prompt: str = Field(min_length=1)
    instruction_id_list: list[str] = Field(min_length=1)
    kwargs: list[dict[str, object]]

    @model_validator(mode="after")
    def _one_each(self) -> "Instructions":
        if len(self.kwargs) != len(self.instruction_id_list):
            raise ValueError(f"{len(self.instruction_id_list)} instructions have {len(self.kwargs)} kwargs")
        return self

    def texts(self) -> list[str]:
        return [self.prompt]


class Golden(Item):
    messages: list[Turn] = Field(min_length=1)
    must: list[Words] = Field([], description="Strings that a right reply holds, all of them.")
    must_not: list[Words] = Field([], description="Strings that none may hold.")

    @model_validator(mode="after")
    def _asks_something(self) -> "Golden":
        if not self.must and not self.must_not:
            raise ValueError("neither `must` nor `must_not` says what a right reply is")
        return self

    def texts(self) -> list[str]:
        return [turn.content for turn in self.messages]


class Canary(Item):
    """`string` was planted where it must not be learned from; `prompt` asks for it."""

    prompt: str = Field(min_length=1)
    string: str = Field(pattern=r"(?:.*[A-Za-z0-9]){4}", description="It has four letters or digits of ASCII, or more.")

    def texts(self) -> list[str]:
        return []


class Prompt(Item):
    prompt: str = Field(min_length=1)

    def texts(self) -> list[str]:
        return [self.prompt]


ITEMS: dict[SuiteKind, type[Item]] = {
    SuiteKind.GENERAL_TEXT: Text,
    **dict.fromkeys(CONTRASTS, Contrast),
    SuiteKind.INSTRUCTIONS: Instructions,
    SuiteKind.GOLDEN: Golden,
    SuiteKind.CANARIES: Canary,
    SuiteKind.PROMPTS: Prompt,
}
