"""`/console/a/NAME/feedback`: all that people said, newest first; `/console/feedback/ID`: one piece in its context."""

from urllib.parse import urlencode

from litestar import get

from feedback import assistants, review, traffic
from feedback.collect.kinds import MAX_TAG
from feedback.collect.reports import CATEGORIES
from feedback.database import Database
from feedback.errors import InvalidInput
from feedback.models import Assistant
from feedback.review import context, listing
from feedback.review.listing import Sought
from feedback.states import FeedbackKind, FeedbackStatus
from service.auth import visible
from service.web.console.asked import one_of
from service.web.page import AnyResponse, Page, signed_in
from service.web.word_diff import word_diff

ON_A_PAGE = 50
DAYS = {"1": "Today", "7": "A week", "30": "A month", "365": "A year"}
LONGEST = {"tag": MAX_TAG, "contributor": 32, "category": 16, "search": 200, "after": 40, "newer_than": 40}
"""Characters of what narrows the list."""


@get("/console/a/{name:str}/feedback", guards=[signed_in("review")], sync_to_thread=True)
def show_feedback(name: str, page: Page, database: Database) -> AnyResponse:
    sought = sought_by(page)
    with database.read() as session:
        assistant = visible(session, page.caller, name)
        found = listing.newest(session, assistant, sought, limit=ON_A_PAGE)
        first_page = sought.after is None
        trend = traffic.satisfaction_by_day(session, assistant) if sought == Sought() else None
    live = first_page and page.asked("live") == "1"
    return page.render(
        "console/feedback.html",
        assistant=name,
        sought=sought,
        found=found,
        first_page=first_page,
        poll=_poll(page, name, found.rows[0].public_id if found.rows else "") if live else None,
        trend=trend,
        most_of_a_day=traffic.NEWEST_OF_A_DAY,
        kinds=list(FeedbackKind),
        statuses=list(FeedbackStatus),
        categories=CATEGORIES,
        tags=_tags(assistant, sought.tag),
        days=DAYS,
        looked_at=listing.SEARCHED if sought.search else listing.LOOKED_AT,
    )


@get("/console/a/{name:str}/feedback/newer", guards=[signed_in("review")], sync_to_thread=True)
def show_newer(name: str, page: Page, database: Database) -> AnyResponse:
    """What came in since the page was made, with where to ask for what comes in next."""
    sought = sought_by(page)
    with database.read() as session:
        assistant = visible(session, page.caller, name)
        try:
            rows = listing.newest(session, assistant, sought, limit=ON_A_PAGE).rows
        except InvalidInput:  # what was the newest was taken back: go on from what is now
            rows, latest = [], listing.newest(session, assistant, Sought(), limit=1).rows
        else:
            latest = rows
    since = latest[0].public_id if latest else sought.newer_than or ""
    return page.render("console/feedback_newer.html", assistant=name, rows=rows, poll=_poll(page, name, since))


@get("/console/feedback/{feedback_id:str}", guards=[signed_in("review")], sync_to_thread=True)
def show_one(feedback_id: str, page: Page, database: Database) -> AnyResponse:
    with database.read() as session:
        found = review.get_feedback(session, feedback_id, page.caller.assistant_ids)
        said = context.read(session, found, actor=page.caller.actor)
    diff = word_diff(said.reply, said.value["content"]) if "content" in said.value else None
    return page.render("console/feedback_one.html", assistant=said.assistant, said=said, diff=diff)


def sought_by(page: Page) -> Sought:
    """What a page's parameters ask for. Raises InvalidInput."""
    days = _asked(page, "days")
    if days is not None and not (days.isascii() and days.isdigit() and 1 <= int(days[:6]) <= 36_500):
        raise InvalidInput("`days` is a whole number from 1 to 36500.", param="days")
    return Sought(
        kind=one_of(FeedbackKind, page, "kind"),
        status=one_of(FeedbackStatus, page, "status"),
        days=int(days) if days else None,
        **{name: _asked(page, name) for name in LONGEST},
    )


def _asked(page: Page, name: str) -> str | None:
    said = page.asked(name)
    if said is not None and len(said) > LONGEST.get(name, 40):
        raise InvalidInput(f"`{name}` has {LONGEST.get(name, 40)} characters at most.", param=name)
    return said


def _poll(page: Page, name: str, newer_than: str) -> str:
    kept = {key: value for key, value in page.request.query_params.items() if key not in ("live", "after")}
    return f"/console/a/{name}/feedback/newer?{urlencode({**kept, 'newer_than': newer_than})}"


def _tags(assistant: Assistant, chosen: str | None) -> list[str]:
    """To choose from: the assistant's own, and the one that is looked for."""
    own = assistants.policies(assistant).collect.tags
    return [*own, *([chosen] if chosen and chosen not in own else [])]
