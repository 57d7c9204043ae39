"""An assistant's training runs: the list and what comes next, one run while it goes and afterwards, and what to do."""

from typing import Annotated

from litestar import get, post
from litestar.params import Parameter

from feedback import due, run_report, runs
from feedback.config import Settings
from feedback.database import Database
from feedback.states import OPEN_RUNS
from service.api.runs import visible_run
from service.auth import visible
from service.web.console import plots
from service.web.console.asked import reason
from service.web.page import AnyResponse, Form, Page, signed_in

AT_ONCE = 20
RunId = Annotated[str | None, Parameter(max_length=40)]


@get("/console/a/{name:str}/runs", guards=[signed_in("operate")], sync_to_thread=True)
def show_runs(name: str, page: Page, database: Database, settings: Settings, after: RunId = None) -> AnyResponse:
    with database.read() as session:
        assistant = visible(session, page.caller, name)
        last = visible_run(session, page.caller, after) if after is not None else None
        found = runs.list_runs(session, assistant, AT_ONCE + 1, after=last)
        reports = [run_report.report(session, run, settings.runs) for run in found[:AT_ONCE]]
        outlook, took = due.outlook(session, assistant), run_report.last_took(session, assistant)
    return page.render(
        "console/runs.html",
        assistant=name,
        runs=reports,
        after=reports[-1].id if len(found) > AT_ONCE else None,
        outlook=outlook,
        took=took,
        first=after is None,
    )


@post("/console/a/{name:str}/runs", guards=[signed_in("operate")], status_code=200, sync_to_thread=True)
def start_run(name: str, page: Page, form: Form, database: Database) -> AnyResponse:
    with database.write() as session:
        run = runs.request(
            session,
            visible(session, page.caller, name),
            reason(form),
            actor=page.caller.actor,
            priority=form.number("priority") or 0,
            search_trials=form.number("search_trials"),
        )
    return page.go(f"/console/runs/{run.id}", "The run is queued.")


@get("/console/runs/{run_id:str}", guards=[signed_in("operate")], sync_to_thread=True)
def show_run(run_id: str, page: Page, database: Database, settings: Settings) -> AnyResponse:
    return _render(page, "console/run.html", run_id, database, settings)


@get("/console/runs/{run_id:str}/now", guards=[signed_in("operate")], sync_to_thread=True)
def show_run_now(run_id: str, page: Page, database: Database, settings: Settings) -> AnyResponse:
    """The part of a run's page that moves; once the run has ended, the browser is told to load the page anew."""
    answer = _render(page, "console/run_now.html", run_id, database, settings)
    with database.read() as session:
        if visible_run(session, page.caller, run_id).status not in OPEN_RUNS:
            answer.set_header("hx-refresh", "true")
    return answer


@get("/console/runs/{run_id:str}/cancel", guards=[signed_in("operate")], sync_to_thread=True)
def ask_to_cancel(run_id: str, page: Page, database: Database, settings: Settings) -> AnyResponse:
    return _render(page, "console/run_cancel.html", run_id, database, settings)


@post("/console/runs/{run_id:str}/cancel", guards=[signed_in("operate")], status_code=200, sync_to_thread=True)
def cancel_run(run_id: str, page: Page, database: Database) -> AnyResponse:
    with database.write() as session:
        visible_run(session, page.caller, run_id)
        runs.cancel(session, run_id, actor=page.caller.actor)
    return page.go(f"/console/runs/{run_id}", "The run is cancelled.")


@post("/console/runs/{run_id:str}/retry", guards=[signed_in("operate")], status_code=200, sync_to_thread=True)
def retry_run(run_id: str, page: Page, database: Database) -> AnyResponse:
    with database.write() as session:
        visible_run(session, page.caller, run_id)
        runs.retry(session, run_id, actor=page.caller.actor)
    return page.go(f"/console/runs/{run_id}", "The run is queued again.")


@post("/console/runs/{run_id:str}/priority", guards=[signed_in("operate")], status_code=200, sync_to_thread=True)
def set_priority(run_id: str, page: Page, form: Form, database: Database) -> AnyResponse:
    with database.write() as session:
        visible_run(session, page.caller, run_id)
        runs.set_priority(session, run_id, form.number("priority") or 0, actor=page.caller.actor)
    return page.go(f"/console/runs/{run_id}", "The run has another priority.")


def _render(page: Page, template: str, run_id: str, database: Database, settings: Settings) -> AnyResponse:
    with database.read() as session:
        run = visible_run(session, page.caller, run_id)
        report = run_report.details(session, run, settings.runs)
    trained = run_report.training_of(run, settings.runs)
    return page.render(
        template,
        assistant=report.assistant,
        at_place=f"/console/a/{report.assistant}/runs",
        run=report,
        open=report.status in OPEN_RUNS,
        retriable=report.status in runs.RETRIABLE,
        curves=[plots.lines(curve) for curve in trained.curves],
        words=[] if report.status in OPEN_RUNS else trained.words,
    )
