"""What an assistant is for and how it speaks: reviewers read it, operators change it, every version stays."""

from datetime import datetime
from typing import Annotated

from litestar import get, post, put
from litestar.params import JSONBody, Parameter
from pydantic import BaseModel, Field

from feedback import guidelines
from feedback.assistants import current_guidelines
from feedback.database import Database
from feedback.keys import Caller
from feedback.models import Guidelines
from service.api.lists import Page
from service.api.strict_body import StrictBody
from service.auth import may, visible


class GuidelinesPut(StrictBody, guidelines.Draft):
    """All that they should say: a field left out is empty."""

    version: int | None = Field(None, ge=1, description="What this was made from; refused if there is a newer one.")


class GuidelinesPreview(StrictBody, guidelines.Draft):
    """As they would be put."""


class GuidelinesText(BaseModel):
    text: str = Field(description="The system prompt that they would make.")


class GuidelinesRestore(StrictBody):
    version: int | None = Field(None, ge=1, description="What is current, as far as is known; refused if it isn't.")


class GuidelinesRead(guidelines.Draft):
    version: int
    text: str = Field(description="The system prompt that they make.")
    review_overdue: bool
    created_at: datetime

    @classmethod
    def of(cls, row: Guidelines) -> "GuidelinesRead":
        return cls.model_construct(
            **guidelines.draft_of(row).model_dump(),
            version=row.version,
            text=guidelines.system_prompt_of(row),
            review_overdue=guidelines.is_review_due(row),
            created_at=row.created_at,
        )


@get("/v1/assistants/{name:str}/guidelines", guards=[may("review")], sync_to_thread=True)
def get_guidelines(name: str, caller: Caller, database: Database) -> GuidelinesRead:
    with database.read() as session:
        return GuidelinesRead.of(current_guidelines(session, visible(session, caller, name)))


@put("/v1/assistants/{name:str}/guidelines", guards=[may("operate")], sync_to_thread=True)
def put_guidelines(name: str, data: JSONBody[GuidelinesPut], caller: Caller, database: Database) -> GuidelinesRead:
    """A new version, unless nothing is different."""
    draft = guidelines.Draft.model_construct(**data.model_dump(exclude={"version"}))
    with database.write() as session:
        assistant = visible(session, caller, name)
        made = guidelines.revise(session, assistant, draft, actor=caller.actor, made_from=data.version)
        return GuidelinesRead.of(made)


@post("/v1/assistants/{name:str}/guidelines/preview", guards=[may("operate")], status_code=200, sync_to_thread=True)
def preview_guidelines(
    name: str, data: JSONBody[GuidelinesPreview], caller: Caller, database: Database
) -> GuidelinesText:
    """Changes nothing."""
    with database.read() as session:
        visible(session, caller, name)
    return GuidelinesText(text=guidelines.system_prompt_of(data))


@get("/v1/assistants/{name:str}/guidelines/versions", guards=[may("review")], sync_to_thread=True)
def list_guidelines(
    name: str,
    caller: Caller,
    database: Database,
    after: Annotated[int | None, Parameter(ge=1)] = None,
    limit: Annotated[int, Parameter(ge=1, le=200)] = 50,
) -> Page[GuidelinesRead]:
    """All versions, newest first."""
    with database.read() as session:
        found = guidelines.versions(session, visible(session, caller, name), before=after, limit=limit + 1)
    data = [GuidelinesRead.of(one) for one in found[:limit]]
    last = str(data[-1].version) if data else None
    return Page[GuidelinesRead](data=data, last_id=last, has_more=len(found) > limit)


@get("/v1/assistants/{name:str}/guidelines/versions/{version:int}", guards=[may("review")], sync_to_thread=True)
def get_guidelines_version(name: str, version: int, caller: Caller, database: Database) -> GuidelinesRead:
    with database.read() as session:
        return GuidelinesRead.of(guidelines.get_version(session, visible(session, caller, name), version))


@post(
    "/v1/assistants/{name:str}/guidelines/versions/{version:int}/restore",
    guards=[may("operate")],
    status_code=200,
    sync_to_thread=True,
)
def restore_guidelines(
    name: str, version: int, data: JSONBody[GuidelinesRestore], caller: Caller, database: Database
) -> GuidelinesRead:
    """A new version that says what an older one said."""
    with database.write() as session:
        assistant = visible(session, caller, name)
        made = guidelines.restore(session, assistant, version, actor=caller.actor, made_from=data.version)
        return GuidelinesRead.of(made)
