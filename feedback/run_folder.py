"""The training run's folder: what goes in, what comes out, under which names.

    runs/<run_id>/
      run.json                 RunSpec: what to train, from what, judged against what
      train.jsonl dev.jsonl gate.jsonl   one Row a line
      rows.txt                 every row's side, id and sha256: the dataset's own sha256 is this file's
      datasheet.json datasheet.md        where the rows came from and what was dropped
      baseline/                the serving adapter (missing: the bare base serves)
      suites/general.txt       general text for the perplexity guard; paragraphs apart by a blank line
      suites/<kind>.<name>.jsonl   what the other guards ask: an item a line (feedback.suites)
      attempt-<n>/             what comes out: checkpoints/ adapter/ metrics.json evaluation.json train.log

Anyone can rerun a folder by hand; nothing in it needs the database. Leaves out how training is done.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from feedback.hyperparameters import Hyperparameters
from feedback.policies import VerdictPolicy

Split = Literal["train", "dev", "gate"]
Method = Literal["sft", "dpo", "kto"]
Purpose = Literal["improve", "replace"]
Source = Literal["correction", "preference", "rating"]
SUITES = Path("suites")
GENERAL_TEXT = SUITES / "general.txt"
SPLITS: tuple[Split, ...] = ("train", "dev", "gate")
ROWS = "rows.txt"


class RunFolderModel(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Turn(RunFolderModel):
    role: Literal["system", "user", "assistant"]
    content: str


class Row(RunFolderModel):
    """One example, in TRL's conversational formats (which fields are set depends on `method`), with its origin.

    sft: prompt, completion · dpo: prompt, chosen, rejected · kto: prompt, completion, label
    """

    id: str
    salt: str = Field("", description="Random: its hash tells nobody what an erased row said. Rows made by hand: none.")
    method: Method
    source: Source
    prompt: list[Turn]
    completion: list[Turn] | None = None
    chosen: list[Turn] | None = None
    rejected: list[Turn] | None = None
    label: bool | None = None
    contributor: str | None = Field(None, description="None: anonymous; then `cluster` stands for the contributor.")
    cluster: str = Field(description="Near-duplicate prompt cluster: rows of one cluster share a side.")
    topic: str = Field(description="What the row is about (key facts, else the cluster): the bootstrap's second axis.")
    key_facts: list[str] = Field(default_factory=list, description="Strings a right reply must contain.")
    synthetic: bool = Field(False, description="A template's phrasing of a question that somebody asked otherwise.")
    chosen_version: str | None = Field(None, description="sha256 (or `base`) of the version that wrote `chosen`.")
    rejected_version: str | None = Field(None, description="The same for `rejected`; None: a person, or unknown.")
    completion_version: str | None = Field(None, description="The same for a rated `completion`.")
    corroborated: bool | None = Field(
        None,
        description="Of a rating: whether two contributors or more gave it, or somebody who may decide approved it.",
    )


class FrozenGuidelines(RunFolderModel):
    """What of an assistant's guidelines a guard asks about."""

    system_prompt: str = ""
    disclaimer: str = ""
    sensitive_topics: list[str] = []


class RunSpec(RunFolderModel):
    run_id: str
    assistant: str
    base_model: str = Field(description="Name, folder or hub id, resolved where the run happens.")
    baseline_version: str = Field(description="sha256 of the adapter in `baseline/`, or `base`.")
    baseline_base_model: str | None = Field(
        None, description="The baseline's, if it is another one; then both are measured in the same number of bytes."
    )
    start_version: str = Field(
        "base", description="sha256 of the adapter in `baseline/` that training goes on from, or `base`."
    )
    methods: list[Method] = Field(description="In the order in which they run.")
    hyperparameters: Hyperparameters
    verdict: VerdictPolicy
    guidelines: FrozenGuidelines | None = Field(None, description="The assistant's, for the guard that asks of them.")
    purpose: Purpose = Field(
        "improve",
        description="What PROMOTE needs: to be better (improve), or, for a tainted version's place, no worse.",
    )
    tries: int = Field(
        1, ge=1, description="Which candidate this is that was held against its baseline: each may err less often."
    )
    seed: int
    dataset_sha256: str = Field(description="sha256 of rows.txt, which has that of every row.")
    files: dict[str, str] = Field(description="sha256 of every file that training reads, by its path in the folder.")

    @field_validator("methods")
    @classmethod
    def _once_each(cls, methods: list[Method]) -> list[Method]:
        """A method's result is kept under its name, so that the second time would find it done."""
        if len(set(methods)) < len(methods):
            raise ValueError(f"each method runs once: {', '.join(methods)} names one again")
        return methods


def attempt_folder(folder: Path, attempt: int) -> Path:
    return folder / f"attempt-{attempt}"
