"""What a walk through the lineage shows of each thing on its way. Who, what and how much; never what was said."""

from datetime import datetime

from pydantic import BaseModel

from feedback.states import FeedbackKind, FeedbackStatus, MessageStatus, ReleaseState, RunStatus, Side, VerdictWord


class ReleaseNode(BaseModel):
    state: ReleaseState
    traffic_percent: int
    reason: str
    since: datetime
    until: datetime | None


class VersionNode(BaseModel):
    version: str
    sha256: str
    made: datetime
    tainted_at: datetime | None
    tainted_reason: str | None
    verdict: VerdictWord | None
    releases: list[ReleaseNode]


class RunNode(BaseModel):
    run: str
    status: RunStatus
    reason: str
    requested: datetime
    version: VersionNode | None


class RowNode(BaseModel):
    id: str
    side: Side
    erased: bool


class DatasetNode(BaseModel):
    dataset: str
    sha256: str
    frozen: datetime
    rows_erased: int
    rows: list[RowNode]
    """Those that the piece of feedback became; none where the dataset is asked about."""
    runs: list[RunNode]


class MessageNode(BaseModel):
    completion_id: str | None
    choice: int
    conversation: str
    contributor: str | None
    written_by: str | None
    guidelines: int | None
    status: MessageStatus
    at: datetime


class FeedbackNode(BaseModel):
    id: str
    kind: FeedbackKind
    status: FeedbackStatus
    status_reason: str | None
    contributor: str | None
    source: str | None
    given: datetime
    datasets: list[DatasetNode]


class SourceNode(BaseModel):
    id: str
    kind: FeedbackKind
    contributor: str | None
    given: datetime
    rows: list[RowNode]


class ShareNode(BaseModel):
    contributor: str
    feedback: int
    share: float


class SourcesNode(BaseModel):
    feedback: int
    by_side: dict[Side, dict[FeedbackKind, int]]
    contributors: int
    anonymous: int
    largest_shares: list[ShareNode]
    page: list[SourceNode]
    next: str | None
    """What to give as `after` for the next page."""


class FeedbackTree(BaseModel):
    feedback: FeedbackNode
    message: MessageNode


class MessageTree(BaseModel):
    message: MessageNode
    learned_by: list[str]
    judged: list[str]
    feedback_total: int
    feedback: list[FeedbackNode]


class DatasetTree(BaseModel):
    dataset: DatasetNode
    sources: SourcesNode


class RunTree(BaseModel):
    run: RunNode
    dataset: DatasetNode | None
    sources: SourcesNode | None


class VersionTree(BaseModel):
    version: VersionNode
    guidelines: int | None
    learned: RunTree | None
    """None: the bare base."""


Tree = FeedbackTree | MessageTree | DatasetTree | RunTree | VersionTree
