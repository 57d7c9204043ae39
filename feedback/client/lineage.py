"""Lineage: from a version, a dataset, a run, a reply or a piece of feedback to all that hangs on it; for reviewers."""

from datetime import datetime

from pydantic import RootModel

from feedback.client.calls import Call, Told, given, path, readable
from feedback.client.resource import Resource, S, asks


class ReleaseNode(Told):
    state: str
    traffic_percent: int
    reason: str
    since: datetime
    until: datetime | None


class VersionNode(Told):
    version: str
    sha256: str
    made: datetime
    tainted_at: datetime | None
    tainted_reason: str | None
    verdict: str | None
    releases: list[ReleaseNode]


class RunNode(Told):
    run: str
    status: str
    reason: str
    requested: datetime
    version: VersionNode | None


class RowNode(Told):
    id: str
    side: str
    """train, dev, gate or sealed."""
    erased: bool


class DatasetNode(Told):
    dataset: str
    sha256: str
    frozen: datetime
    rows_erased: int
    rows: list[RowNode]
    """Those that the piece of feedback became; none where the dataset is asked about."""
    runs: list[RunNode]


class MessageNode(Told):
    completion_id: str | None
    choice: int
    conversation: str
    contributor: str | None
    written_by: str | None
    guidelines: int | None
    status: str
    at: datetime


class FeedbackNode(Told):
    id: str
    kind: str
    status: str
    status_reason: str | None
    contributor: str | None
    source: str | None
    given: datetime
    datasets: list[DatasetNode]


class SourceNode(Told):
    id: str
    kind: str
    contributor: str | None
    given: datetime
    rows: list[RowNode]


class ShareNode(Told):
    contributor: str
    feedback: int
    share: float


class SourcesNode(Told):
    feedback: int
    by_side: dict[str, dict[str, int]]
    contributors: int
    anonymous: int
    largest_shares: list[ShareNode]
    page: list[SourceNode]
    next: str | None
    """What to give as `after` for the next page."""


class FeedbackTree(Told):
    feedback: FeedbackNode
    message: MessageNode


class MessageTree(Told):
    message: MessageNode
    learned_by: list[str]
    judged: list[str]
    feedback_total: int
    feedback: list[FeedbackNode]


class DatasetTree(Told):
    dataset: DatasetNode
    sources: SourcesNode


class RunTree(Told):
    run: RunNode
    dataset: DatasetNode | None
    sources: SourcesNode | None


class VersionTree(Told):
    version: VersionNode
    guidelines: int | None
    learned: RunTree | None
    """None: the bare base."""


Tree = FeedbackTree | MessageTree | DatasetTree | RunTree | VersionTree
_AnyTree = RootModel[Tree]


class Lineage(Resource[S]):
    @asks
    def trace(self, reference: str, *, after: str | None = None, limit: int = 50) -> Call[Tree]:
        """`support@3`, `support:v3` (a dataset), `run-…`, `chatcmpl-…` (with `:1` its second reply) or `fb-…`."""
        where, wanted = path("/v1/lineage/{}", reference), given(after=after, limit=limit)
        return Call("GET", where, lambda content: readable(content, _AnyTree.model_validate).root, params=wanted)
