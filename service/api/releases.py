"""For operators: which version serves. Look, promote, approve, try, take back, roll back, freeze."""

from typing import Annotated

from litestar import get, post
from litestar.params import JSONBody, Parameter
from pydantic import BaseModel, Field

from feedback import adapters, release_deeds, release_report, releases, rollout
from feedback.config import Settings
from feedback.database import Database
from feedback.drift import DriftReport, drift
from feedback.keys import Caller
from feedback.release_report import Moved, PromotionOutlook, ReleaseRead, RollBackOutlook, TrialReport, moved
from service.api.lists import Page
from service.api.strict_body import StrictBody
from service.auth import may, visible


class Promote(StrictBody):
    version: int = Field(ge=0, lt=2**31)
    reason: str = Field("promoted through the API", max_length=500)
    force: bool = False
    at_once: bool = Field(False, description="Without the shadow and canary that the assistant's policy asks for.")


class Share(StrictBody):
    percent: int = Field(ge=1, le=99, description="Of the conversations that begin, from now on.")
    reason: str = Field("set through the API", max_length=500)
    version: int | None = Field(None, description="The version that is meant; refused if another one is on trial.")


class RollBack(StrictBody):
    reason: str = Field("rolled back through the API", max_length=500)
    version: int | None = Field(None, description="The version to take back; refused if another one serves.")
    accept_tainted: bool = Field(False, description="Even to a version that learned from what was erased since.")


class Veto(StrictBody):
    version: int = Field(ge=0, lt=2**31)
    reason: str = Field("turned down through the API", max_length=500)


class Freeze(StrictBody):
    frozen: bool = Field(description="Whether nothing may be promoted or grown; taking back works all the while.")
    reason: str = Field("asked for through the API", max_length=500)


class Frozen(BaseModel):
    frozen: bool
    changed: bool


@get("/v1/assistants/{name:str}/releases", guards=[may("operate")], sync_to_thread=True)
def list_releases(
    name: str,
    caller: Caller,
    database: Database,
    after: Annotated[int | None, Parameter(ge=1, lt=2**62)] = None,
    limit: Annotated[int, Parameter(ge=1, le=100)] = 20,
) -> Page[ReleaseRead]:
    """The newest first: proposed, on trial, live, and what was."""
    with database.read() as session:
        found = release_report.history(session, visible(session, caller, name), limit + 1, after=after)
    return Page[ReleaseRead].of(found[:limit], has_more=len(found) > limit)


@get("/v1/assistants/{name:str}/promote", guards=[may("operate")], sync_to_thread=True)
def look_at_promotion(
    name: str, version: Annotated[int, Parameter(ge=0, lt=2**31)], caller: Caller, database: Database
) -> PromotionOutlook:
    """What promoting the version would do, and what stands against it."""
    with database.read() as session:
        assistant = visible(session, caller, name)
        found = adapters.get_number(session, assistant, version)
        return release_report.promotion_outlook(session, assistant, found, actor=caller.actor)


@post("/v1/assistants/{name:str}/promote", guards=[may("operate")], status_code=200, sync_to_thread=True)
def promote(name: str, data: JSONBody[Promote], caller: Caller, database: Database, settings: Settings) -> Moved:
    with database.read() as session:
        assistant = visible(session, caller, name)
    return release_deeds.promote(
        database,
        settings.adapters,
        assistant.id,
        data.version,
        actor=caller.actor,
        reason=data.reason,
        force=data.force,
        at_once=data.at_once,
    )


@post("/v1/assistants/{name:str}/veto", guards=[may("operate")], status_code=200, sync_to_thread=True)
def veto(name: str, data: JSONBody[Veto], caller: Caller, database: Database) -> Moved:
    with database.write() as session:
        assistant = visible(session, caller, name)
        version = adapters.get_number(session, assistant, data.version)
        before = releases.live(session, assistant).version
        release = releases.veto(session, assistant, version, actor=caller.actor, reason=data.reason)
        return moved(session, assistant, release, before)


@get("/v1/assistants/{name:str}/trial", guards=[may("operate")], sync_to_thread=True)
def get_trial(name: str, caller: Caller, database: Database) -> TrialReport | None:
    """How what is on trial, or the live version beside its holdout, does; null where one version serves alone."""
    with database.read() as session:
        return release_report.trial_report(session, visible(session, caller, name))


@post("/v1/assistants/{name:str}/trial", guards=[may("operate")], status_code=200, sync_to_thread=True)
def set_share(name: str, data: JSONBody[Share], caller: Caller, database: Database) -> Moved:
    """Give what is on trial a larger or smaller share of the conversations now; it grows on from there by policy."""
    with database.write() as session:
        assistant = visible(session, caller, name)
        release = rollout.set_share(
            session, assistant, data.percent, actor=caller.actor, reason=data.reason, expected=data.version
        )
        return moved(session, assistant, release, releases.live(session, assistant).version)


@get("/v1/assistants/{name:str}/rollback", guards=[may("operate")], sync_to_thread=True)
def look_at_roll_back(name: str, caller: Caller, database: Database) -> RollBackOutlook:
    """What rolling back would do."""
    with database.read() as session:
        return release_report.roll_back_outlook(session, visible(session, caller, name))


@post("/v1/assistants/{name:str}/rollback", guards=[may("operate")], status_code=200, sync_to_thread=True)
def roll_back(name: str, data: JSONBody[RollBack], caller: Caller, database: Database) -> Moved:
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
        return moved(session, assistant, release, before)


@post("/v1/assistants/{name:str}/freeze", guards=[may("operate")], status_code=200, sync_to_thread=True)
def freeze(name: str, data: JSONBody[Freeze], caller: Caller, database: Database) -> Frozen:
    with database.write() as session:
        assistant = visible(session, caller, name)
        changed = release_deeds.freeze(session, assistant, data.frozen, actor=caller.actor, reason=data.reason)
    return Frozen(frozen=data.frozen, changed=changed)


@get("/v1/assistants/{name:str}/drift", guards=[may("operate")], sync_to_thread=True)
def get_drift(name: str, caller: Caller, database: Database) -> DriftReport | None:
    """What people ask, get and say since the live release, against the time of the one before."""
    with database.read() as session:
        return drift(session, visible(session, caller, name))
