"""For operators: assistants and their versions. Their runs are runs.py's, what serves is releases.py's."""

from datetime import date, datetime
from typing import Any

from litestar import get
from pydantic import BaseModel
from sqlmodel import Session

from feedback import releases
from feedback.assistants import current_guidelines, list_assistants, policies
from feedback.changelog import Change, changelog
from feedback.database import Database
from feedback.guidelines import is_review_due
from feedback.keys import Caller
from feedback.models import Assistant
from feedback.report import VersionReport, version_reports
from service.api.lists import Page
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
    policies: dict[str, Any]


@get("/v1/assistants", guards=[may("operate")], sync_to_thread=True)
def get_assistants(caller: Caller, database: Database) -> list[AssistantRead]:
    with database.read() as session:
        return [_assistant(session, one) for one in list_assistants(session) if caller.sees(one)]


@get("/v1/assistants/{name:str}/versions", guards=[may("operate")], sync_to_thread=True)
def get_versions(name: str, caller: Caller, database: Database) -> list[VersionReport]:
    with database.read() as session:
        return version_reports(session, visible(session, caller, name))


@get("/v1/assistants/{name:str}/changelog", guards=[may("chat")], sync_to_thread=True)
def get_changelog(name: str, caller: Caller, database: Database) -> Page[Change]:
    """For the people who use it: what changed, release by release, the newest first."""
    with database.read() as session:
        return Page[Change](data=changelog(session, visible(session, caller, name)))


def _assistant(session: Session, assistant: Assistant) -> AssistantRead:
    now_live, guidelines = releases.live(session, assistant), current_guidelines(session, assistant)
    return AssistantRead(
        name=assistant.name,
        base_model=assistant.base_model,
        live=f"{assistant.name}@{now_live.version.number}",
        live_since=now_live.release.live_at or now_live.release.created_at,
        guidelines_version=guidelines.version,
        review_due=guidelines.review_due,
        review_overdue=is_review_due(guidelines),
        tainted=now_live.version.tainted_at is not None,
        policies=policies(assistant).model_dump(),
    )
