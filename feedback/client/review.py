"""The review queue: what waits for a person, one after the other, and what is decided; for reviewers."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Required, TypedDict, Unpack

from feedback.client.calls import Call, Page, Paged, Told, given, id_of, one, path
from feedback.client.feedback import FeedbackRow
from feedback.client.resource import Resource, S, asks, lists

Word = Literal["approved", "edited", "rejected"]


class Queue(TypedDict, total=False):
    """What narrows the queue."""

    show: Literal["waiting", "unreviewed", "mine", "second_opinion", "all"]
    status: str
    kind: str
    tag: str
    category: str
    contributor: str
    search: str
    order: Literal["oldest", "value"]


class Opinion(TypedDict, total=False):
    """`note` is for the giver, `comment` for other reviewers; `edited` the right reply, or {content, key_facts}."""

    note: str
    comment: str
    edited: str | Mapping[str, Any]
    second_opinion: bool
    final: bool


class Decision(Opinion, total=False):
    id: Required[str]
    decision: Required[Word]


class GuidelinesShown(Told):
    version: int
    text: str


class ReviewShown(Told):
    by: str
    decision: str
    edited: dict[str, Any] | None
    note: str | None
    comment: str | None
    final: bool
    counts: bool
    created_at: datetime


class CaseShown(Told):
    id: str
    category: str
    status: str


class Entry(Told):
    """What was said, about what, why it is here, and what others decided."""

    id: str
    kind: str
    value: dict[str, Any]
    comment: str | None
    tags: list[str]
    contributor: str | None
    source: str | None
    created_at: datetime
    status: str
    state: str
    """unreviewed, awaiting_second, disputed or settled."""
    why: str
    completion_id: str | None
    choice: int
    conversation: list[dict[str, str]]
    reply: str
    other_reply: str | None
    guidelines: GuidelinesShown
    guidelines_then: int | None
    case: CaseShown | None
    reviews: list[ReviewShown]
    reviews_hidden: bool
    claimed_by: str | None
    claimed_until: datetime | None


class Next(Told):
    decided: FeedbackRow | None
    next: Entry | None
    """Yours for a while; None: nothing is left."""


class Claim(Told):
    id: str
    claimed_by: str | None
    claimed_until: datetime | None


class Agreement(Told):
    """Cohen's kappa, with its 95 % interval."""

    n: int
    agreed: int
    kappa: float | None
    low: float | None
    high: float | None


class Pair(Agreement):
    reviewers: tuple[str, str]


class Agreements(Told):
    overall: Agreement
    pairs: list[Pair]


class Review(Resource[S]):
    @asks
    def next(
        self,
        assistant: str,
        *,
        decide: Decision | None = None,
        skip: Entry | str | None = None,
        **queue: Unpack[Queue],
    ) -> Call[Next]:
        """Take the next entry; before that decide on one, or give one back. Asked again, it gives the same."""
        passed = id_of(skip) if skip is not None else None
        body = {**queue, **given(decide=dict(decide) if decide else None, skip=passed)}
        return Call("POST", path("/v1/assistants/{}/review/next", assistant), one(Next), body, repeats=True)

    @asks
    def decide(self, entry: Entry | str, decision: Word, **opinion: Unpack[Opinion]) -> Call[FeedbackRow]:
        where = path("/v1/feedback/{}/review", id_of(entry))
        return Call("POST", where, one(FeedbackRow), {"decision": decision, **opinion})

    @asks
    def claim(self, entry: Entry | str) -> Call[Claim]:
        """Have it for oneself for a while; again, for longer."""
        return Call("POST", path("/v1/feedback/{}/claim", id_of(entry)), one(Claim), repeats=True)

    @asks
    def release(self, entry: Entry | str) -> Call[Claim]:
        return Call("POST", path("/v1/feedback/{}/release", id_of(entry)), one(Claim))

    @asks
    def agreement(self, assistant: str) -> Call[Agreements]:
        """How far reviewers agree, over what two decided unseen by each other."""
        return Call("GET", path("/v1/assistants/{}/review/agreement", assistant), one(Agreements))

    @lists
    def list(self, assistant: str, *, page_size: int = 50, **queue: Unpack[Queue]) -> Paged[Entry]:
        where, wanted = path("/v1/assistants/{}/review", assistant), {**queue, "limit": page_size}
        return Paged(lambda after: Call("GET", where, one(Page[Entry]), params=wanted | given(after=after)))
