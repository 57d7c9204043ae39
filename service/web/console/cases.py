"""`/console/a/NAME/cases`: what was reported about replies; `/console/cases/ID`: one, and what is done about it."""

from typing import Any

from litestar import get, post

from feedback import cases
from feedback.collect.reports import CATEGORIES
from feedback.database import Database
from feedback.errors import BurnishError, Conflict, InvalidInput
from feedback.models import Assistant
from feedback.review import case_files, reports
from feedback.states import CaseOutcome, CaseStatus
from service.auth import visible
from service.errors import status_of
from service.web.console.asked import one_of
from service.web.page import AnyResponse, Form, Page, signed_in

ON_A_PAGE = 25
LONGEST_TEXT = 2000
"""Characters of an answer or a note."""


@get("/console/a/{name:str}/cases", guards=[signed_in("review")], sync_to_thread=True)
def show_cases(name: str, page: Page, database: Database) -> AnyResponse:
    """Oldest first: whoever reported first has waited longest."""
    status = one_of(CaseStatus, page, "status")
    category = page.asked("category") if page.asked("category") in CATEGORIES else None
    mine = page.asked("mine") == "1"
    with database.read() as session:
        found = cases.list_cases(
            session,
            visible(session, page.caller, name),
            status=status,
            category=category,
            assignee=page.caller.actor if mine else None,
            after=page.asked("after"),
            limit=ON_A_PAGE + 1,
        )
        shown = case_files.read(session, found[:ON_A_PAGE])
    return page.render(
        "console/cases.html",
        assistant=name,
        cases=shown,
        after=shown[-1].id if len(found) > ON_A_PAGE else None,
        state=status,
        category=category,
        mine=mine,
        statuses=list(CaseStatus),
        categories=CATEGORIES,
    )


@get("/console/cases/{case_id:str}", guards=[signed_in("review")], sync_to_thread=True)
def show_case(case_id: str, page: Page, database: Database) -> AnyResponse:
    return _render(page, database, case_id)


@post("/console/cases/{case_id:str}", guards=[signed_in("review")], status_code=200, sync_to_thread=True)
def change_case(case_id: str, page: Page, form: Form, database: Database) -> AnyResponse:
    where = f"/console/cases/{case_id}"
    try:
        changes, notice = _changes(form)
        with database.write() as session:
            case = cases.get_case(session, case_id, page.caller.assistant_ids, lock=True)
            reports.change(session, case, actor=page.caller.actor, **changes)
        return page.go(where, notice)
    except (Conflict, InvalidInput) as error:
        return _render(page, database, case_id, wrong=error, answer=form.text("answer"), note=form.text("note"))


def _render(
    page: Page,
    database: Database,
    case_id: str,
    *,
    wrong: BurnishError | None = None,
    answer: str | None = None,
    note: str = "",
) -> AnyResponse:
    with database.read() as session:
        found = cases.get_case(session, case_id, page.caller.assistant_ids)
        case = case_files.read(session, [found])[0]
        assistant = session.get_one(Assistant, found.assistant_id).name
    return page.render(
        "console/case.html",
        status=status_of(wrong) if wrong else 200,
        assistant=assistant,
        case=case,
        me=page.caller.actor,
        categories=CATEGORIES,
        longest=LONGEST_TEXT,
        wrong=wrong.message if wrong else "",
        answer=(case.answer or "") if answer is None else answer,
        note=note,
    )


def _changes(form: Form) -> tuple[dict[str, Any], str]:
    """What the pressed button asks for, and what is said when it is done. Raises InvalidInput."""
    deed, take_over = form.text("deed"), form.ticked("take_over")
    for name in ("answer", "note"):
        if len(form.text(name)) > LONGEST_TEXT:
            raise InvalidInput(f"Use {LONGEST_TEXT} characters at most.", param=name)
    match deed:
        case "take":
            return {"status": CaseStatus.INVESTIGATING, "take_over": take_over}, "It is yours."
        case "hand_back":
            return {"status": CaseStatus.OPEN, "take_over": take_over}, "Others may take it now."
        case "reopen":
            return {"status": CaseStatus.OPEN}, "It is open again."
        case "upheld" | "dismissed":
            decided = {"status": CaseStatus.RESOLVED, "outcome": CaseOutcome(deed), "answer": form.given("answer")}
            return {**decided, "take_over": take_over}, "Resolved: everybody who reported it is told."
        case "note" if note := form.given("note"):
            return {"note": note}, "Noted."
        case "category":
            return {"category": form.text("category")}, "Changed."
    raise InvalidInput("There was nothing to do: write a note, or choose what to do.", param="deed")
