"""Cases over HTTP: what was reported about replies, who looks into it, and what the reporters are told."""

from typing import Annotated, Any

from litestar import get, post
from litestar.params import JSONBody, Parameter
from pydantic import Field

from feedback import cases
from feedback.database import Database
from feedback.keys import Caller
from feedback.review import case_files, reports
from feedback.review.case_files import CaseRead
from feedback.states import CaseOutcome, CaseStatus
from service.api.lists import Page
from service.api.strict_body import StrictBody
from service.auth import may, visible


class CaseChange(StrictBody):
    """What should be different; all of it is, or nothing."""

    status: CaseStatus | None = Field(
        None, description="investigating: you take it; open: you hand it back, or it is looked at again; resolved."
    )
    outcome: CaseOutcome | None = Field(None, description="With 'resolved': was the report right?")
    answer: str | None = Field(None, max_length=2000, description="With 'resolved': what the reporters are told.")
    category: str | None = Field(None, max_length=16)
    note: str | None = Field(
        None, min_length=1, max_length=5000, description="For other reviewers; added to the notes."
    )
    take_over: bool = Field(False, description="Even if somebody else has it.")


@get("/v1/assistants/{name:str}/cases", guards=[may("review")], sync_to_thread=True)
def list_cases(
    name: str,
    caller: Caller,
    database: Database,
    status: CaseStatus | None = None,
    category: str | None = None,
    mine: bool = False,
    after: str | None = None,
    limit: Annotated[int, Parameter(ge=1, le=200)] = 50,
) -> Page[CaseRead]:
    """Oldest first."""
    wanted: dict[str, Any] = {"status": status, "category": category, "after": after}
    with database.read() as session:
        assistant = visible(session, caller, name)
        assignee = caller.actor if mine else None
        found = cases.list_cases(session, assistant, **wanted, assignee=assignee, limit=limit + 1)
        shown = case_files.read(session, found[:limit])
    return Page[CaseRead].of(shown, has_more=len(found) > limit)


@get("/v1/cases/{case_id:str}", guards=[may("review")], sync_to_thread=True)
def get_case(case_id: str, caller: Caller, database: Database) -> CaseRead:
    with database.read() as session:
        return case_files.read(session, [cases.get_case(session, case_id, caller.assistant_ids)])[0]


@post("/v1/cases/{case_id:str}", guards=[may("review")], status_code=200, sync_to_thread=True)
def change_case(case_id: str, data: JSONBody[CaseChange], caller: Caller, database: Database) -> CaseRead:
    with database.write() as session:
        case = cases.get_case(session, case_id, caller.assistant_ids, lock=True)
        reports.change(session, case, actor=caller.actor, **data.model_dump())
        return case_files.read(session, [case])[0]
