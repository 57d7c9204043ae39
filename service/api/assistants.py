"""Assistants and their versions: make, change, list. Their runs are runs.py's, what serves is releases.py's."""

from datetime import date, datetime
from typing import Annotated, Any

from litestar import get, patch, post
from litestar.params import JSONBody, Parameter
from pydantic import BaseModel, Field
from sqlmodel import Session

from feedback import guidelines, releases
from feedback.assistants import current_guidelines, list_assistants, policies, set_consent, set_policies
from feedback.changelog import Change, changelog
from feedback.config import Settings
from feedback.database import Database
from feedback.keys import Caller
from feedback.models import Assistant
from feedback.policies import Changes
from feedback.states import Consent
from feedback.version_report import VersionReport, version_reports
from service.api.lists import Page
from service.api.strict_body import StrictBody
from service.auth import may, visible


class AssistantRead(BaseModel):
    name: str
    base_model: str
    live: str
    live_since: datetime
    guidelines_version: int
    review_due: date | None
    review_overdue: bool
    tainted: bool
    consent: Consent
    policies: dict[str, Any]


class AssistantCreate(StrictBody, guidelines.Draft):
    """A name, and what its first guidelines say."""

    name: str = Field(max_length=63)


class AssistantChange(StrictBody):
    policies: Changes = Field({}, description='A part of them, such as {"release": {"promotion": "auto"}}.')
    consent: Consent | None = Field(None, description="What silence means, from the next dataset on.")


@get("/v1/assistants", guards=[may("operate")], sync_to_thread=True)
def get_assistants(caller: Caller, database: Database) -> list[AssistantRead]:
    with database.read() as session:
        return [_assistant(session, one) for one in list_assistants(session) if caller.sees(one)]


@post("/v1/assistants", guards=[may("administer", everywhere=True)], status_code=201, sync_to_thread=True)
def create_assistant(
    data: JSONBody[AssistantCreate], caller: Caller, database: Database, settings: Settings
) -> AssistantRead:
    """On this deployment's base model, which serves bare until something better is learned."""
    draft = guidelines.Draft.model_construct(**data.model_dump(exclude={"name"}))
    with database.write() as session:
        made = guidelines.begin(session, data.name, settings.base_model, draft, actor=caller.actor)
        return _assistant(session, made)


@get("/v1/assistants/{name:str}", guards=[may("operate")], sync_to_thread=True)
def get_assistant(name: str, caller: Caller, database: Database) -> AssistantRead:
    with database.read() as session:
        return _assistant(session, visible(session, caller, name))


@patch("/v1/assistants/{name:str}", guards=[may("operate")], sync_to_thread=True)
def change_assistant(name: str, data: JSONBody[AssistantChange], caller: Caller, database: Database) -> AssistantRead:
    """What isn't given stays."""
    with database.write() as session:
        assistant = visible(session, caller, name)
        set_policies(session, assistant, data.policies, actor=caller.actor)
        if data.consent is not None:
            set_consent(session, assistant, data.consent, actor=caller.actor)
        return _assistant(session, assistant)


@get("/v1/assistants/{name:str}/versions", guards=[may("operate")], sync_to_thread=True)
def get_versions(name: str, caller: Caller, database: Database) -> list[VersionReport]:
    with database.read() as session:
        return version_reports(session, visible(session, caller, name))


@get("/v1/assistants/{name:str}/changelog", guards=[may("chat")], sync_to_thread=True)
def get_changelog(
    name: str,
    caller: Caller,
    database: Database,
    after: str | None = None,
    limit: Annotated[int, Parameter(ge=1, le=100)] = 50,
) -> Page[Change]:
    """For the people who use it: what changed, release by release, the newest first."""
    with database.read() as session:
        found = changelog(session, visible(session, caller, name), limit + 1, after)
    return Page[Change].of(found[:limit], has_more=len(found) > limit)


def _assistant(session: Session, assistant: Assistant) -> AssistantRead:
    now_live, current = releases.live(session, assistant), current_guidelines(session, assistant)
    return AssistantRead(
        name=assistant.name,
        base_model=assistant.base_model,
        live=f"{assistant.name}@{now_live.version.number}",
        live_since=now_live.release.live_at or now_live.release.created_at,
        guidelines_version=current.version,
        review_due=current.review_due,
        review_overdue=guidelines.is_review_due(current),
        tainted=now_live.version.tainted_at is not None,
        consent=Consent(assistant.consent),
        policies=policies(assistant).model_dump(),
    )
