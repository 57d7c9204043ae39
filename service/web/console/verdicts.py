"""How candidates were judged: over time, one verdict with what stands behind it, and replies side by side."""

from typing import Annotated

from litestar import Response, get
from litestar.params import Parameter

from feedback import evaluations
from feedback.config import Settings
from feedback.database import Database
from feedback.evaluation_file import Outcome
from feedback.evaluations import ReportFormat
from feedback.models import Assistant
from feedback.verdict_report import list_replies, verdict_report
from service.api.evaluations import report_response
from service.api.runs import visible_run
from service.auth import visible
from service.web.console import plots
from service.web.page import AnyResponse, Page, signed_in

VERDICTS_AT_ONCE, REPLIES_AT_ONCE = 20, 10


@get("/console/a/{name:str}/verdicts", guards=[signed_in("operate")], sync_to_thread=True)
def show_verdicts(
    name: str, page: Page, database: Database, after: Annotated[int | None, Parameter(ge=1, lt=2**62)] = None
) -> AnyResponse:
    with database.read() as session:
        assistant = visible(session, page.caller, name)
        found = evaluations.history(session, assistant, VERDICTS_AT_ONCE + 1, after=after)
    shown = found[:VERDICTS_AT_ONCE]
    return page.render(
        "console/verdicts.html",
        assistant=name,
        judged=shown,
        histories=plots.histories(shown),
        after=shown[-1].id if len(found) > VERDICTS_AT_ONCE else None,
    )


@get("/console/runs/{run_id:str}/verdict", guards=[signed_in("operate")], sync_to_thread=True)
def show_verdict(run_id: str, page: Page, database: Database, settings: Settings) -> AnyResponse:
    with database.read() as session:
        found = verdict_report(session, visible_run(session, page.caller, run_id), settings.runs)
    return page.render(
        "console/verdict.html",
        assistant=found.assistant,
        at_place=f"/console/a/{found.assistant}/verdicts",
        found=found,
        spans=plots.spans(found.measures),
        margin_span=plots.margin_span,
    )


@get("/console/runs/{run_id:str}/replies", guards=[signed_in("operate")], sync_to_thread=True)
def show_replies(
    run_id: str,
    page: Page,
    database: Database,
    settings: Settings,
    outcome: Outcome | None = None,
    after: Annotated[str | None, Parameter(max_length=100)] = None,
) -> AnyResponse:
    with database.read() as session:
        run = visible_run(session, page.caller, run_id)
        name = session.get_one(Assistant, run.assistant_id).name
    found = list_replies(run, settings.runs, outcome, after=after, limit=REPLIES_AT_ONCE + 1)
    return page.render(
        "console/replies.html",
        assistant=name,
        at_place=f"/console/a/{name}/verdicts",
        run_id=run_id,
        outcome=outcome,
        replies=found[:REPLIES_AT_ONCE],
        after=found[REPLIES_AT_ONCE - 1].id if len(found) > REPLIES_AT_ONCE else None,
    )


@get("/console/runs/{run_id:str}/report", guards=[signed_in("operate")], sync_to_thread=True)
def show_report(
    run_id: str,
    page: Page,
    database: Database,
    settings: Settings,
    kind: Annotated[ReportFormat, Parameter(query="format")] = "html",
) -> Response[bytes]:
    """The stored report, with a policy of its own, which lets it have its style and nothing else."""
    with database.read() as session:
        path = evaluations.report_file(settings.runs, visible_run(session, page.caller, run_id), kind)
    return report_response(path, kind)
