"""For operators: how candidates were judged over time, each run's verdict, what was said, and the report."""

from pathlib import Path
from typing import Annotated

from litestar import Response, get
from litestar.params import Parameter

from feedback import evaluations
from feedback.config import Settings
from feedback.database import Database
from feedback.evaluation_file import Outcome, Replies
from feedback.evaluations import Judged, ReportFormat
from feedback.keys import Caller
from feedback.verdict_report import VerdictReport, list_replies, verdict_report
from service.api.lists import Page
from service.api.runs import visible_run
from service.auth import may, visible

MEDIA_TYPES: dict[ReportFormat, str] = {
    "html": "text/html",
    "md": "text/markdown",
    "json": "application/json",
}
NOTHING_ELSE = "default-src 'none'; style-src 'unsafe-inline'"
"""A report is one page with its own style: whatever it quotes, nothing runs and nothing is fetched."""


@get("/v1/assistants/{name:str}/evaluations", guards=[may("operate")], sync_to_thread=True)
def list_evaluations(
    name: str,
    caller: Caller,
    database: Database,
    after: Annotated[int | None, Parameter(ge=1, lt=2**62)] = None,
    limit: Annotated[int, Parameter(ge=1, le=1000)] = 50,
) -> Page[Judged]:
    """The newest first."""
    with database.read() as session:
        found = evaluations.history(session, visible(session, caller, name), limit + 1, after=after)
    return Page[Judged].of(found[:limit], has_more=len(found) > limit)


@get("/v1/runs/{run_id:str}/verdict", guards=[may("operate")], sync_to_thread=True)
def get_verdict(run_id: str, caller: Caller, database: Database, settings: Settings) -> VerdictReport:
    """What to do with a run's result, why, how sure that is, and what stands against it."""
    with database.read() as session:
        return verdict_report(session, visible_run(session, caller, run_id), settings.runs)


@get("/v1/runs/{run_id:str}/replies", guards=[may("operate")], sync_to_thread=True)
def get_replies(
    run_id: str,
    caller: Caller,
    database: Database,
    settings: Settings,
    outcome: Outcome | None = None,
    after: Annotated[str | None, Parameter(max_length=100)] = None,
    limit: Annotated[int, Parameter(ge=1, le=100)] = 20,
) -> Page[Replies]:
    """What baseline and candidate said to what was held out: `won`, `lost`, `alike`, or all of it."""
    with database.read() as session:
        run = visible_run(session, caller, run_id)
    found = list_replies(run, settings.runs, outcome, after=after, limit=limit + 1)
    return Page[Replies].of(found[:limit], has_more=len(found) > limit)


@get("/v1/runs/{run_id:str}/report", guards=[may("operate")], sync_to_thread=True)
def get_report(
    run_id: str,
    caller: Caller,
    database: Database,
    settings: Settings,
    form: Annotated[ReportFormat, Parameter(query="format")] = "html",
) -> Response[bytes]:
    """Did it help, for whom, how sure, what got worse, what it learned from."""
    with database.read() as session:
        path = evaluations.report_file(settings.runs, visible_run(session, caller, run_id), form)
    return report_response(path, form)


def report_response(path: Path, form: ReportFormat = "html") -> Response[bytes]:
    headers = {
        "content-security-policy": NOTHING_ELSE,
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
    }
    return Response(path.read_bytes(), media_type=MEDIA_TYPES[form], headers=headers)
