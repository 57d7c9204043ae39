"""`/changes`: what changed in each assistant, for the people who use it; for everybody, where its policy says so.

Whoever is signed in, or at this machine, and may chat with an assistant or review it reads its changes, too. Nobody
else can tell one that isn't public from one that there isn't.
"""

from dataclasses import dataclass
from datetime import datetime

from litestar import get
from sqlmodel import Session

from feedback import changelog, releases
from feedback.assistants import BASE_VERSION, list_assistants
from feedback.changelog import Change
from feedback.database import Database
from feedback.models import Assistant
from service.auth import find_visible
from service.web.page import AnyResponse, Page
from service.web.public import feed

AT_ONCE = 10
_FEED = ".atom"


@dataclass(frozen=True)
class Serving:
    name: str
    live: str
    since: datetime
    newest: Change | None
    public: bool


@get("/changes", sync_to_thread=True)
def show_assistants(page: Page, database: Database) -> AnyResponse:
    with database.read() as session:
        shown = [_serving(session, one) for one in list_assistants(session) if _may_read(page, one)]
    return page.render("public/changes.html", assistants=shown)


@get("/changes/{name:str}", sync_to_thread=True)
def show_changes(page: Page, name: str, database: Database) -> AnyResponse:
    """With `.atom` behind the name, as a feed."""
    wanted, after = name.removesuffix(_FEED), page.asked("after")
    with database.read() as session:
        assistant = _find(session, page, wanted)
        changes = changelog.changelog(session, assistant, AT_ONCE + 1, after)
    shown = changes[:AT_ONCE]
    if name.endswith(_FEED):
        return feed.answer(page, wanted, shown)
    older = shown[-1].id if len(changes) > AT_ONCE else None
    return page.render("public/changes_of.html", name=wanted, changes=shown, older=older, after=after)


def _find(session: Session, page: Page, name: str) -> Assistant:
    known = find_visible(session, page.caller, name) if page.visitor is not None else None
    if known is not None and _may_read(page, known):
        return known
    return changelog.find_public(session, name)


def _may_read(page: Page, assistant: Assistant) -> bool:
    if changelog.is_public(assistant):
        return True
    uses = page.may("chat") or page.may("review")
    return assistant.name != BASE_VERSION and uses and page.caller.sees(assistant)


def _serving(session: Session, assistant: Assistant) -> Serving:
    live = releases.live(session, assistant)
    return Serving(
        name=assistant.name,
        live=f"{assistant.name}@{live.version.number}",
        since=live.release.live_at or live.release.created_at,
        newest=next(iter(changelog.changelog(session, assistant, 1)), None),
        public=changelog.is_public(assistant),
    )
