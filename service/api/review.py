"""The review queue over HTTP: look, take, decide and go on to the next one in a single call."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from litestar import get, post
from litestar.params import JSONBody, Parameter
from pydantic import BaseModel, Field

from feedback.database import Database
from feedback.keys import Caller
from feedback.models import Feedback
from feedback.review import agreement, claims, entries, queue, turns
from feedback.review.entries import Entry
from feedback.states import FeedbackKind, FeedbackStatus, ReviewDecision
from service.api.feedback import FeedbackRead
from service.api.lists import Page
from service.api.strict_body import StrictBody
from service.auth import may, visible

Text = Annotated[str | None, Field(max_length=2000)]
LONGEST = {"tag": 50, "category": 16, "contributor": 32, "search": 200, "after": 40}
"""Characters of what narrows the queue."""


class ReviewCreate(StrictBody):
    decision: ReviewDecision
    note: Text = Field(None, description="For the giver, on the receipt.")
    comment: Text = Field(None, description="For other reviewers only.")
    edited: Any = Field(None, description="With 'edited': the right reply, or {content, key_facts}.")
    second_opinion: bool = Field(False, description="Ask another person too, who doesn't see this decision.")
    final: bool = Field(False, description="An operator's last word, whatever others said.")


class Decided(ReviewCreate):
    id: str = Field(max_length=40)


class QueueWanted(StrictBody):
    """What to take; as in GET …/review."""

    show: queue.Show | None = None
    status: FeedbackStatus | None = None
    kind: FeedbackKind | None = None
    tag: str | None = Field(None, max_length=LONGEST["tag"])
    category: str | None = Field(None, max_length=LONGEST["category"])
    contributor: str | None = Field(None, max_length=LONGEST["contributor"])
    search: str | None = Field(None, max_length=LONGEST["search"])
    order: queue.Order = queue.Order.OLDEST
    after: str | None = Field(None, max_length=LONGEST["after"])


class Next(QueueWanted):
    decide: Decided | None = Field(None, description="Decide on this entry first.")
    skip: str | None = Field(None, max_length=40, description="Give this entry back and go on to one after it.")


class NextRead(BaseModel):
    decided: FeedbackRead | None
    next: Entry | None


class ClaimRead(BaseModel):
    id: str
    claimed_by: str | None
    claimed_until: datetime | None


class WaitingRead(BaseModel):
    waiting: int
    unreviewed: int
    mine: int
    most: int = Field(description="Nothing is counted further than this.")


class AgreementRead(BaseModel):
    n: int
    agreed: int
    kappa: float | None
    low: float | None
    high: float | None


class PairRead(AgreementRead):
    reviewers: tuple[str, str]


class AgreementsRead(BaseModel):
    overall: AgreementRead
    pairs: list[PairRead]


@get("/v1/assistants/{name:str}/review", guards=[may("review")], sync_to_thread=True)
def list_queue(
    name: str,
    caller: Caller,
    database: Database,
    show: queue.Show | None = None,
    status: FeedbackStatus | None = None,
    kind: FeedbackKind | None = None,
    tag: Annotated[str | None, Parameter(max_length=LONGEST["tag"])] = None,
    category: Annotated[str | None, Parameter(max_length=LONGEST["category"])] = None,
    contributor: Annotated[str | None, Parameter(max_length=LONGEST["contributor"])] = None,
    search: Annotated[str | None, Parameter(max_length=LONGEST["search"])] = None,
    order: queue.Order = queue.Order.OLDEST,
    after: Annotated[str | None, Parameter(max_length=LONGEST["after"])] = None,
    limit: Annotated[int, Parameter(ge=1, le=200)] = 50,
) -> Page[Entry]:
    """What waits for the caller, or what the parameters ask for."""
    wanted = queue.Wanted(show, status, kind, tag, category, contributor, search, order, after)
    with database.read() as session:
        assistant = visible(session, caller, name)
        chosen = queue.chosen(session, assistant, wanted, actor=caller.actor, most=limit + 1)
        found = session.exec(chosen.limit(limit + 1)).all()
        shown = entries.entries(session, assistant, found[:limit], actor=caller.actor)
    return Page[Entry].of(shown, has_more=len(found) > limit)


@post("/v1/assistants/{name:str}/review/next", guards=[may("review")], status_code=200, sync_to_thread=True)
def take_next(name: str, data: JSONBody[Next], caller: Caller, database: Database) -> NextRead:
    """Decide on one entry (or skip it), and take the next: all of it, or nothing. Asked again, it gives the same."""
    wanted = queue.Wanted(**data.model_dump(include=set(QueueWanted.model_fields)))
    with database.write() as session:
        assistant = visible(session, caller, name)
        said = turns.Said(**data.decide.model_dump()) if data.decide else None
        turn = turns.take(session, caller, assistant, wanted, said=said, skip=data.skip)
        return NextRead(
            decided=FeedbackRead.of(turn.decided) if turn.decided else None,
            next=entries.entry(session, turn.next, actor=caller.actor) if turn.next else None,
        )


@post("/v1/feedback/{feedback_id:str}/review", guards=[may("review")], status_code=200, sync_to_thread=True)
def review_feedback(feedback_id: str, data: JSONBody[ReviewCreate], caller: Caller, database: Database) -> FeedbackRead:
    with database.write() as session:
        said = turns.Said(id=feedback_id, **data.model_dump())
        return FeedbackRead.of(turns.decide(session, caller, said, caller.assistant_ids))


@post("/v1/feedback/{feedback_id:str}/claim", guards=[may("review")], status_code=200, sync_to_thread=True)
def claim_feedback(feedback_id: str, caller: Caller, database: Database) -> ClaimRead:
    """Have it for oneself for a while; again, for longer."""
    with database.write() as session:
        found = queue.get_feedback(session, feedback_id, caller.assistant_ids)
        return _claim(claims.claim(session, found, actor=caller.actor))


@post("/v1/feedback/{feedback_id:str}/release", guards=[may("review")], status_code=200, sync_to_thread=True)
def release_feedback(feedback_id: str, caller: Caller, database: Database) -> ClaimRead:
    with database.write() as session:
        found = queue.get_feedback(session, feedback_id, caller.assistant_ids)
        return _claim(claims.release(session, found, actor=caller.actor))


@get("/v1/assistants/{name:str}/review/waiting", guards=[may("review")], sync_to_thread=True)
def count_waiting(name: str, caller: Caller, database: Database) -> WaitingRead:
    """How much there is to do for the caller."""
    with database.read() as session:
        counts = queue.count_all(session, visible(session, caller, name), actor=caller.actor)
    return WaitingRead(most=queue.MOST_COUNTED, **counts)


@get("/v1/assistants/{name:str}/review/agreement", guards=[may("review")], sync_to_thread=True)
def get_agreement(name: str, caller: Caller, database: Database) -> AgreementsRead:
    """Cohen's kappa with its 95 % interval, over what two people decided unseen by each other."""
    with database.read() as session:
        overall, pairs = agreement.agreement(session, visible(session, caller, name))
    return AgreementsRead(
        overall=AgreementRead(**asdict(overall)),
        pairs=[PairRead(reviewers=pair.reviewers, **asdict(pair.agreement)) for pair in pairs],
    )


def _claim(row: Feedback) -> ClaimRead:
    return ClaimRead(id=row.public_id, claimed_by=row.claimed_by, claimed_until=row.claimed_until)
