"""For operators: assistants and their versions; promote and roll back. Their runs are runs.py's."""

from datetime import date, datetime
from typing import Annotated, Any

from litestar import get, post
from litestar.params import JSONBody, Parameter
from pydantic import BaseModel, Field
from sqlmodel import Session

from feedback import adapters, approvals, releases
from feedback.assistants import current_guidelines, list_assistants, policies
from feedback.changelog import Change, changelog
from feedback.config import Settings
from feedback.database import Database
from feedback.drift import DriftReport, drift
from feedback.guidelines import is_review_due
from feedback.keys import Caller
from feedback.models import AdapterVersion, Assistant, Release
from feedback.release_report import TrialReport, trial_report
from feedback.report import VersionReport, version_reports
from feedback.states import ReleaseState
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
    policies: dict[str, Any]


class Promote(StrictBody):
    version: int = Field(ge=0, lt=2**31)
    reason: str = Field("promoted through the API", max_length=500)
    force: bool = False
    at_once: bool = Field(False, description="Without the shadow and canary that the assistant's policy asks for.")


class RollBack(StrictBody):
    reason: str = Field("rolled back through the API", max_length=500)
    version: int | None = Field(None, description="The version to take back; refused if another one serves.")
    accept_tainted: bool = Field(False, description="Even to a version that learned from what was erased since.")


class Veto(StrictBody):
    version: int = Field(ge=0, lt=2**31)
    reason: str = Field("turned down through the API", max_length=500)


class ReleaseRead(BaseModel):
    live: str
    replaced: str
    reason: str
    version: str = Field(description="The one that was moved.")
    state: ReleaseState
    percent: int
    approved_by: list[str]


@get("/v1/assistants", guards=[may("operate")], sync_to_thread=True)
def get_assistants(caller: Caller, database: Database) -> list[AssistantRead]:
    with database.read() as session:
        return [_assistant(session, one) for one in list_assistants(session) if caller.sees(one)]


@get("/v1/assistants/{name:str}/versions", guards=[may("operate")], sync_to_thread=True)
def get_versions(name: str, caller: Caller, database: Database) -> list[VersionReport]:
    with database.read() as session:
        return version_reports(session, visible(session, caller, name))


@post("/v1/assistants/{name:str}/promote", guards=[may("operate")], status_code=200, sync_to_thread=True)
def promote(name: str, data: JSONBody[Promote], caller: Caller, database: Database, settings: Settings) -> ReleaseRead:
    with database.read() as session:
        assistant = visible(session, caller, name)
        version = adapters.get_number(session, assistant, data.version)
    adapters.verify(settings.adapters, version)  # hashing takes a while: nobody waits for it
    with database.write() as session:
        assistant = visible(session, caller, name)  # its policies may have changed meanwhile
        before = releases.live(session, assistant).version
        release = releases.promote(
            session,
            assistant,
            version,
            actor=caller.actor,
            reason=data.reason,
            force=data.force,
            at_once=data.at_once,
        )
        return _release(session, assistant, release, before)


@post("/v1/assistants/{name:str}/veto", guards=[may("operate")], status_code=200, sync_to_thread=True)
def veto(name: str, data: JSONBody[Veto], caller: Caller, database: Database) -> ReleaseRead:
    with database.write() as session:
        assistant = visible(session, caller, name)
        version = adapters.get_number(session, assistant, data.version)
        before = releases.live(session, assistant).version
        release = releases.veto(session, assistant, version, actor=caller.actor, reason=data.reason)
        return _release(session, assistant, release, before)


@get("/v1/assistants/{name:str}/trial", guards=[may("operate")], sync_to_thread=True)
def get_trial(name: str, caller: Caller, database: Database) -> TrialReport | None:
    """How what is on trial, or the live version beside its holdout, does; null where one version serves alone."""
    with database.read() as session:
        return trial_report(session, visible(session, caller, name))


@post("/v1/assistants/{name:str}/rollback", guards=[may("operate")], status_code=200, sync_to_thread=True)
def roll_back(name: str, data: JSONBody[RollBack], caller: Caller, database: Database) -> ReleaseRead:
    with database.write() as session:
        assistant = visible(session, caller, name)
        before = releases.live(session, assistant).version
        release = releases.roll_back(
            session,
            assistant,
            actor=caller.actor,
            reason=data.reason,
            expected_live=data.version,
            accept_tainted=data.accept_tainted,
        )
        return _release(session, assistant, release, before)


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


@get("/v1/assistants/{name:str}/drift", guards=[may("operate")], sync_to_thread=True)
def get_drift(name: str, caller: Caller, database: Database) -> DriftReport | None:
    """What people ask, get and say since the live release, against the time of the one before."""
    with database.read() as session:
        return drift(session, visible(session, caller, name))


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


def _release(session: Session, assistant: Assistant, release: Release, before: AdapterVersion) -> ReleaseRead:
    moved = session.get_one(AdapterVersion, release.adapter_version_id)
    return ReleaseRead(
        live=f"{assistant.name}@{releases.live(session, assistant).version.number}",
        replaced=f"{assistant.name}@{before.number}",
        reason=release.reason,
        version=f"{assistant.name}@{moved.number}",
        state=release.state,
        percent=release.traffic_percent,
        approved_by=[one.actor for one in approvals.given(session, release)],
    )
