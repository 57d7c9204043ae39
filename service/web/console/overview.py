"""`/console`: every assistant at a glance, and what is wrong."""

from dataclasses import dataclass
from datetime import date, datetime

from litestar import get
from sqlalchemy import func
from sqlmodel import Session, col, select

from feedback import assistants, due, releases, traffic
from feedback.assistants import BASE_VERSION
from feedback.database import Database
from feedback.models import Assistant, Feedback, ReportCase
from feedback.release_report import TrialReport, trial_report
from feedback.states import CaseStatus, FeedbackKind, FeedbackStatus
from feedback.traffic import Satisfaction
from service.routing import Routing
from service.web.page import AnyResponse, Page, signed_in
from service.web.site import Site


@dataclass(frozen=True)
class AtAGlance:
    name: str
    live: str
    live_since: datetime
    trial: TrialReport | None
    replies: dict[date, int]
    satisfaction: Satisfaction
    in_review: int
    open_cases: int
    open_run: str | None
    outlook: str | None


@dataclass(frozen=True)
class Alert:
    about: str
    says: str


@get("/console", guards=[signed_in("review")], sync_to_thread=True)
def show_overview(page: Page, database: Database, routing: Routing) -> AnyResponse:
    with database.read() as session:
        seen = [one for one in assistants.list_assistants(session) if page.caller.sees(one)]
        shown = [_at_a_glance(session, one, page.site) for one in seen if one.name != BASE_VERSION]
    alerts = [Alert(about, says) for about, says in routing.problems_for(page.caller).items()]
    return page.render("console/overview.html", assistants=shown, alerts=alerts)


def _at_a_glance(session: Session, assistant: Assistant, site: Site) -> AtAGlance:
    live, outlook = releases.live(session, assistant), due.outlook(session, assistant)
    waiting = select(func.count()).where(
        Feedback.assistant_id == assistant.id,
        col(Feedback.kind).in_(FeedbackKind),  # all of them: as the index has it, whose second column it is
        Feedback.status == FeedbackStatus.IN_REVIEW,
    )
    cases = select(func.count()).where(
        ReportCase.assistant_id == assistant.id, col(ReportCase.status) != CaseStatus.RESOLVED
    )
    return AtAGlance(
        name=assistant.name,
        live=f"{assistant.name}@{live.version.number}",
        live_since=live.release.live_at or live.release.created_at,
        trial=trial_report(session, assistant),
        replies=traffic.replies_by_day(session, assistant, site.days_over.setdefault(assistant.id, {})),
        satisfaction=traffic.satisfaction(session, assistant),
        in_review=session.exec(waiting).one(),
        open_cases=session.exec(cases).one(),
        open_run=outlook.open_run if outlook else None,
        outlook=str(outlook) if outlook else None,
    )
