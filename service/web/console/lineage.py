"""`/console/a/{name}/lineage?of=support@3`: from a reply to what taught it and back, a click a step."""

from litestar import get
from sqlmodel import Session

from feedback import causes, releases, runs
from feedback.causes import Loss
from feedback.config import Settings
from feedback.database import Database
from feedback.errors import InvalidInput, NotFound
from feedback.lineage_nodes import RunTree, Tree, VersionTree
from feedback.lineage_tree import trace
from service.auth import visible
from service.web.page import AnyResponse, Page, signed_in

A_PAGE = 20


@get("/console/a/{name:str}/lineage", guards=[signed_in("review")], sync_to_thread=True)
def show_lineage(page: Page, name: str, database: Database, settings: Settings) -> AnyResponse:
    with database.read() as session:
        assistant = visible(session, page.caller, name)
        of = page.asked("of") or f"{name}@{releases.live(session, assistant).version.number}"
        seen, after = page.caller.assistant_ids, page.asked("after")
        try:
            found = trace(session, of, assistant_ids=seen, after=after, limit=A_PAGE)
        except (NotFound, InvalidInput) as error:
            return page.render("console/lineage.html", assistant=name, of=of, problem=error.message, status=404)
        losses = _losses(session, settings, found) if page.may("operate") else []
    return page.render(
        "console/lineage.html",
        assistant=name,
        of=of,
        problem="",
        found=found,
        kind=type(found).__name__,
        losses=losses,
        run=_run_of(found),
    )


def _run_of(found: Tree) -> str | None:
    """The run that is asked about, or made the version that is."""
    learned = found.learned if isinstance(found, VersionTree) else found
    return learned.run.run if isinstance(learned, RunTree) else None


def _losses(session: Session, settings: Settings, found: Tree) -> list[Loss]:
    run = _run_of(found)
    return causes.losses_of(settings.runs, runs.get_run(session, run)) if run else []
