"""`/console/a/{name}/trust`: who gives feedback, known by keyed hashes alone; whose is held back.

Leaves out erasing somebody, which goes by the same pages as all erasing (settings/erasures.py).
"""

from litestar import get, post

from feedback import contributor_report, datasets, quarantine
from feedback.contributor_report import Show
from feedback.database import Database
from service.auth import visible
from service.web.console.asked import one_of
from service.web.page import AnyResponse, Form, Page, signed_in

A_PAGE = 20
ABOUT_PEOPLE = ("quarantine", "trust")
"""Stages of the curation that drop something for who said it."""


@get("/console/a/{name:str}/trust", guards=[signed_in("operate")], sync_to_thread=True)
def show_contributors(page: Page, name: str, database: Database) -> AnyResponse:
    show = one_of(Show, page, "show") or Show.NEWEST
    with database.read() as session:
        assistant = visible(session, page.caller, name)
        found = contributor_report.list_contributors(
            session, assistant, show, after=page.asked("after"), limit=A_PAGE + 1
        )
        newest = next(iter(datasets.list_datasets(session, assistant, limit=1)), None)
    shown = found[:A_PAGE]
    return page.render(
        "console/trust.html",
        assistant=name,
        show=show.value,
        people=shown,
        older=shown[-1].id if len(found) > A_PAGE and show != Show.BUSIEST else None,
        newest=newest,
        dropped=[one for one in newest.datasheet["dropped"] if one["stage"] in ABOUT_PEOPLE] if newest else [],
    )


@get("/console/a/{name:str}/trust/{person:str}", guards=[signed_in("operate")], sync_to_thread=True)
def show_contributor(page: Page, name: str, person: str, database: Database) -> AnyResponse:
    after = page.asked("after")
    with database.read() as session:
        assistant = visible(session, page.caller, name)
        told = contributor_report.details(session, assistant, person)
        said = contributor_report.feedback_of(session, assistant, person, after=after, limit=A_PAGE + 1)
    return page.render(
        "console/contributor.html",
        assistant=name,
        person=told,
        said=said[:A_PAGE],
        older=said[A_PAGE - 1].public_id if len(said) > A_PAGE else None,
        longest_reason=quarantine.MAX_REASON,
    )


@post("/console/a/{name:str}/trust/{person:str}/quarantine", guards=[signed_in("operate")], sync_to_thread=True)
def hold_back(page: Page, name: str, person: str, form: Form, database: Database) -> AnyResponse:
    with database.write() as session:
        assistant = visible(session, page.caller, name)
        quarantine.quarantine(session, assistant, person, form.text("reason"), actor=page.caller.actor)
    return page.go(f"/console/a/{name}/trust/{person}", "Held back, from the next dataset on.")


@post("/console/a/{name:str}/trust/{person:str}/release", guards=[signed_in("operate")], sync_to_thread=True)
def let_go(page: Page, name: str, person: str, database: Database) -> AnyResponse:
    with database.write() as session:
        assistant = visible(session, page.caller, name)
        quarantine.release(session, assistant, person, actor=page.caller.actor)
    return page.go(f"/console/a/{name}/trust/{person}", "No longer held back.")
