"""`POST /v1/feedback`, its receipts and its withdrawal; for reviewers, the list of all that was said."""

from datetime import date, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from litestar import Request, Response, delete, get, post
from litestar.params import JSONBody, Parameter
from pydantic import BaseModel, Field

from feedback import review, traffic
from feedback.collect import form, intake, receipts
from feedback.collect.kinds import MAX_TAG, MAX_TAGS
from feedback.database import Database
from feedback.erasure import withdrawal
from feedback.errors import InvalidInput
from feedback.keys import Caller
from feedback.models import Feedback
from feedback.policies import SurveyQuestion
from feedback.review import context, listing
from feedback.review.context import InContext
from feedback.states import ErasureState, FeedbackKind, FeedbackStatus
from service.api.strict_body import StrictBody
from service.auth import may, visible
from service.secret import Secret


class Aside(StrictBody):
    """What goes with feedback of any kind."""

    comment: str | None = None
    tags: list[Annotated[str, Field(min_length=1, max_length=MAX_TAG)]] = Field([], max_length=MAX_TAGS, fail_fast=True)
    user: str | None = Field(None, max_length=intake.MAX_USER)
    anonymous: bool = False
    training: bool | None = None

    def aside(self) -> dict[str, Any]:
        """As `intake.Given` calls it."""
        return {**{name: getattr(self, name) for name in Aside.model_fields}, "tags": tuple(self.tags)}


class FeedbackCreate(Aside):
    completion_id: str = Field(max_length=64)
    choice: int = Field(0, ge=0, lt=2**31)
    kind: FeedbackKind
    value: Any = None

    def given(self) -> intake.Given:
        return intake.Given(self.completion_id, self.kind, self.choice, self.value, **self.aside())


class FeedbackAccepted(BaseModel):
    id: str
    receipt: str
    status: FeedbackStatus

    @classmethod
    def of(cls, accepted: intake.Accepted) -> "FeedbackAccepted":
        return cls(id=accepted.id, receipt=accepted.receipt, status=accepted.status)


class FormRead(BaseModel):
    kinds: list[FeedbackKind]
    tags: list[str] = Field(description="The tags that it may have; none: any.")
    anonymous: bool
    report_categories: list[str]
    survey: list[SurveyQuestion] | None = Field(description="The questions, when they are due.")


class StepRead(BaseModel):
    at: datetime
    says: str


class ReceiptRead(BaseModel):
    id: str
    kind: FeedbackKind
    status: str
    detail: str
    note: str | None
    created_at: datetime
    steps: list[StepRead] = Field(description="What happened to it, in order.")


class WithdrawalRead(BaseModel):
    erasure: str
    state: ErasureState
    withdrawn_at: datetime


class FeedbackRead(BaseModel):
    id: str
    kind: FeedbackKind
    value: dict[str, Any]
    comment: str | None
    tags: list[str]
    status: FeedbackStatus
    status_reason: str | None
    source: str | None
    contributor: str | None
    created_at: datetime

    @classmethod
    def of(cls, row: Feedback) -> "FeedbackRead":
        fields = {name: getattr(row, name) for name in cls.model_fields if name not in ("id", "contributor")}
        return cls(id=row.public_id, contributor=row.contributor_id, **fields)


class DayRead(BaseModel):
    day: date
    ratings: int
    share: float | None
    lower: float | None = Field(description="With `upper`, the share's 95 % interval.")
    upper: float | None


class SatisfactionRead(BaseModel):
    most_ratings: int = Field(description="That are looked at of a day, the newest.")
    days: list[DayRead]


@post("/v1/feedback", guards=[may("feedback")], status_code=201, sync_to_thread=True)
def create_feedback(
    request: Request[Any, Any, Any],
    data: JSONBody[FeedbackCreate],
    caller: Caller,
    database: Database,
    secret: Secret,
) -> FeedbackAccepted:
    key = idempotency_key(request)
    return FeedbackAccepted.of(intake.receive(database, secret.value, caller, data.given(), idempotency_key=key))


@get("/v1/feedback/form", guards=[may("feedback")], sync_to_thread=True)
def get_form(
    completion_id: str,
    caller: Caller,
    database: Database,
    secret: Secret,
    choice: Annotated[int, Parameter(ge=0, lt=2**31)] = 0,
    user: Annotated[str | None, Parameter(max_length=intake.MAX_USER)] = None,
) -> FormRead:
    """What may be said about a reply; the survey goes by `user`, else by the one who chatted."""
    with database.read() as session:
        drawn = form.draw(session, secret.value, caller, completion_id, choice, user=user)
    return FormRead.model_validate(drawn, from_attributes=True)


@get("/v1/feedback/{receipt:str}", sync_to_thread=True)
def get_receipt(receipt: str, database: Database) -> ReceiptRead:
    """Needs no key: whoever holds the receipt may read it, anonymous givers too."""
    with database.read() as session:
        return ReceiptRead.model_validate(receipts.look_up(session, receipt), from_attributes=True)


@delete("/v1/feedback/{receipt:str}", status_code=200, sync_to_thread=True)
def withdraw_feedback(receipt: str, database: Database) -> WithdrawalRead:
    """Needs no key either: whoever gave it may take it back. Asking again tells the same."""
    return WithdrawalRead.model_validate(withdrawal.withdraw(database, receipt).__dict__)


@get("/v1/assistants/{name:str}/feedback", guards=[may("review")], sync_to_thread=True)
def list_feedback(
    request: Request[Any, Any, Any],
    name: str,
    caller: Caller,
    database: Database,
    status: FeedbackStatus | None = None,
    kind: FeedbackKind | None = None,
    tag: Annotated[str | None, Parameter(max_length=MAX_TAG)] = None,
    category: Annotated[str | None, Parameter(max_length=16)] = None,
    contributor: Annotated[str | None, Parameter(max_length=32)] = None,
    search: Annotated[str | None, Parameter(max_length=200)] = None,
    days: Annotated[int | None, Parameter(ge=1, le=36_500)] = None,
    after: Annotated[str | None, Parameter(max_length=40)] = None,
    newer_than: Annotated[str | None, Parameter(max_length=40)] = None,
    limit: Annotated[int, Parameter(ge=1, le=200)] = 50,
) -> Response[list[FeedbackRead]]:
    """Newest first. The header `Link` has the next page's address, as long as there may be more.

    A tag, a category, days and words are looked for among the newest only: a page may then have less than `limit`,
    or nothing, and still another one after it.
    """
    sought = listing.Sought(kind, status, contributor, tag, category, search, days, after, newer_than)
    with database.read() as session:
        found = listing.newest(session, visible(session, caller, name), sought, limit=limit)
    headers = {}
    if found.after is not None:
        asked = {**request.query_params, "after": found.after}
        headers["link"] = f'<{request.url.path}?{urlencode(asked)}>; rel="next"'
    return Response([FeedbackRead.of(row) for row in found.rows], headers=headers)


@get("/v1/assistants/{name:str}/feedback/{feedback_id:str}", guards=[may("review")], sync_to_thread=True)
def get_feedback(name: str, feedback_id: str, caller: Caller, database: Database) -> InContext:
    """A piece of feedback in its conversation, with all that was said about the reply."""
    with database.read() as session:
        assistant = visible(session, caller, name)
        found = review.get_feedback(session, feedback_id, frozenset({assistant.id}))
        return context.read(session, found, actor=caller.actor)


@get("/v1/assistants/{name:str}/satisfaction", guards=[may("review")], sync_to_thread=True)
def get_satisfaction(
    name: str, caller: Caller, database: Database, days: Annotated[int, Parameter(ge=1, le=90)] = traffic.DAYS
) -> SatisfactionRead:
    """The share of kind ratings by day, over a sample of each day's newest."""
    with database.read() as session:
        by_day = traffic.satisfaction_by_day(session, visible(session, caller, name), days)
    return SatisfactionRead(
        most_ratings=traffic.NEWEST_OF_A_DAY,
        days=[DayRead(day=day, **one.__dict__) for day, one in by_day.items()],
    )


def idempotency_key(request: Request[Any, Any, Any]) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= 200:
        raise InvalidInput("Idempotency-Key has 1 to 200 characters.", param="Idempotency-Key")
    return key
