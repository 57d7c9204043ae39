"""For operators: who gives feedback, known by keyed hashes alone, and whose is held back."""

from typing import Annotated

from litestar import delete, get, post
from litestar.params import JSONBody, Parameter
from pydantic import Field

from feedback import contributor_report, quarantine
from feedback.contributor_report import ContributorDetails, ContributorRead, Show
from feedback.database import Database
from feedback.keys import Caller
from service.api.lists import Page
from service.api.strict_body import StrictBody
from service.auth import may, visible


class QuarantineCreate(StrictBody):
    reason: str = Field(
        min_length=1,
        max_length=quarantine.MAX_REASON,
        description="For other operators. It stays in the audit log: no names.",
    )


@get("/v1/assistants/{name:str}/contributors", guards=[may("operate")], sync_to_thread=True)
def list_contributors(
    name: str,
    caller: Caller,
    database: Database,
    show: Show = Show.NEWEST,
    after: Annotated[str | None, Parameter(max_length=32)] = None,
    limit: Annotated[int, Parameter(ge=1, le=100)] = 20,
) -> Page[ContributorRead]:
    """Who came last first. `show=busiest`: who gave the most of the newest feedback, one page; `quarantined`: whose is
    held back."""
    with database.read() as session:
        assistant = visible(session, caller, name)
        found = contributor_report.list_contributors(session, assistant, show, after=after, limit=limit + 1)
    return Page[ContributorRead].of(found[:limit], has_more=len(found) > limit and show != Show.BUSIEST)


@get("/v1/assistants/{name:str}/contributors/{contributor_id:str}", guards=[may("operate")], sync_to_thread=True)
def get_contributor(name: str, contributor_id: str, caller: Caller, database: Database) -> ContributorDetails:
    """What they said is in `GET …/review?show=all&contributor=…`."""
    with database.read() as session:
        return contributor_report.details(session, visible(session, caller, name), contributor_id)


@post(
    "/v1/assistants/{name:str}/contributors/{contributor_id:str}/quarantine",
    guards=[may("operate")],
    status_code=200,
    sync_to_thread=True,
)
def quarantine_contributor(
    name: str, contributor_id: str, data: JSONBody[QuarantineCreate], caller: Caller, database: Database
) -> ContributorDetails:
    """Hold back everything of theirs, from the next dataset on, until it is lifted."""
    with database.write() as session:
        assistant = visible(session, caller, name)
        quarantine.quarantine(session, assistant, contributor_id, data.reason, actor=caller.actor)
        return contributor_report.details(session, assistant, contributor_id)


@delete(
    "/v1/assistants/{name:str}/contributors/{contributor_id:str}/quarantine",
    guards=[may("operate")],
    status_code=200,
    sync_to_thread=True,
)
def release_contributor(name: str, contributor_id: str, caller: Caller, database: Database) -> ContributorDetails:
    """The next dataset looks at what they said as at anybody's."""
    with database.write() as session:
        assistant = visible(session, caller, name)
        quarantine.release(session, assistant, contributor_id, actor=caller.actor)
        return contributor_report.details(session, assistant, contributor_id)
