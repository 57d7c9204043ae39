"""For operators: how candidates were judged over time, and each run's report."""

from typing import Annotated

from litestar import Response, get
from litestar.params import Parameter

from feedback import evaluations
from feedback.config import Settings
from feedback.database import Database
from feedback.evaluations import Judged, ReportFormat
from feedback.keys import Caller
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
    name: str, caller: Caller, database: Database, limit: Annotated[int, Parameter(ge=1, le=1000)] = 50
) -> Page[Judged]:
    """The newest first."""
    with database.read() as session:
        return Page[Judged](data=evaluations.history(session, visible(session, caller, name), limit))


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
    headers = {"content-security-policy": NOTHING_ELSE, "x-content-type-options": "nosniff"}
    return Response(path.read_bytes(), media_type=MEDIA_TYPES[form], headers=headers)
