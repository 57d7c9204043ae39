"""`/console/a/{name}/data`: dataset versions, each with its datasheet, two compared, and what would be learned now."""

from litestar import get, post

from feedback import dataset_report, datasets
from feedback.config import Settings
from feedback.curate.datasheet_page import STAGES, rules, settings_of
from feedback.database import Database
from feedback.dataset_report import Verification, number_of
from feedback.errors import QueueFull
from feedback.policy_changes import parse_changes
from service.auth import visible
from service.previews import preview
from service.web.page import AnyResponse, Form, Page, signed_in

A_PAGE = 20
CHOICE = 50
"""Datasets that may be chosen from for comparing: the newest."""


@get("/console/a/{name:str}/data", guards=[signed_in("operate")], sync_to_thread=True)
def show_datasets(page: Page, name: str, database: Database) -> AnyResponse:
    after = page.asked("after")
    with database.read() as session:
        assistant = visible(session, page.caller, name)
        before = number_of(after) if after else None
        found = datasets.list_datasets(session, assistant, before=before, limit=A_PAGE + 1)
        shown = dataset_report.read(session, found[:A_PAGE])
    older = shown[-1].id if len(found) > A_PAGE else None
    return page.render("console/data.html", assistant=name, datasets=shown, older=older)


@get("/console/a/{name:str}/data/{number:str}", guards=[signed_in("operate")], sync_to_thread=True)
def show_dataset(page: Page, name: str, number: str, database: Database, settings: Settings) -> AnyResponse:
    return _dataset(page, name, number, database, settings)


@post("/console/a/{name:str}/data/{number:str}/verify", guards=[signed_in("operate")], sync_to_thread=True)
def verify_dataset(page: Page, name: str, number: str, database: Database, settings: Settings) -> AnyResponse:
    with database.read() as session:
        dataset = datasets.get_dataset(session, visible(session, page.caller, name), number_of(number))
        found = dataset_report.verify(session, settings.runs, dataset)
    return _dataset(page, name, number, database, settings, found)


@get("/console/a/{name:str}/data/compare", guards=[signed_in("operate")], sync_to_thread=True)
def compare_datasets(page: Page, name: str, database: Database) -> AnyResponse:
    with database.read() as session:
        assistant = visible(session, page.caller, name)
        known = [f"v{one.number}" for one in datasets.list_datasets(session, assistant, limit=CHOICE)]
        after = page.asked("after") or (known[0] if known else None)
        before = page.asked("before") or (known[1] if len(known) > 1 else after)
        if before is None or after is None:
            return page.render("console/data_compare.html", assistant=name, known=[], before="", after="", differ=[])
        one, other = (datasets.get_dataset(session, assistant, number_of(label)) for label in (before, after))
    return page.render(
        "console/data_compare.html",
        assistant=name,
        known=known,
        before=f"v{one.number}",
        after=f"v{other.number}",
        differ=dataset_report.differences(one.datasheet, other.datasheet),
    )


@get("/console/a/{name:str}/data/preview", guards=[signed_in("operate")], sync_to_thread=True)
def show_preview(page: Page, name: str, database: Database) -> AnyResponse:
    with database.read() as session:
        visible(session, page.caller, name)
    return page.render("console/data_preview.html", assistant=name, tried="", made=False, busy="")


@post("/console/a/{name:str}/data/preview", guards=[signed_in("operate")], status_code=200, sync_to_thread=True)
def make_preview(page: Page, name: str, form: Form, database: Database) -> AnyResponse:
    tried = form.text("policies")
    with database.read() as session:
        assistant = visible(session, page.caller, name)
        try:
            as_it_is, changed = preview(
                session, assistant, parse_changes([line.strip() for line in tried.splitlines() if line.strip()])
            )
        except QueueFull as error:
            return page.render(
                "console/data_preview.html", assistant=name, tried=tried, made=False, busy=error.message, status=429
            )
        shown = changed or as_it_is
        dropped = dataset_report.dropped_now(session, shown)
    return page.render(
        "console/data_preview.html",
        assistant=name,
        tried=tried,
        made=True,
        busy="",
        sheet=shown.sheet,
        rows={row.id: row for row in shown.samples},
        dropped=dropped,
        differ=dataset_report.differences(as_it_is.sheet, changed.sheet) if changed else None,
        stages=STAGES,
        rules=rules(shown.sheet),
        settings=settings_of(shown.sheet),
        run=None,
    )


def _dataset(
    page: Page,
    name: str,
    number: str,
    database: Database,
    settings: Settings,
    verified: Verification | None = None,
) -> AnyResponse:
    with database.read() as session:
        assistant = visible(session, page.caller, name)
        dataset = datasets.get_dataset(session, assistant, number_of(number))
        (shown,) = dataset_report.read(session, [dataset])
        rows = dataset_report.sample_rows(session, settings.runs, dataset)
        dropped = dataset_report.dropped_last(session, assistant, dataset)
    return page.render(
        "console/dataset.html",
        assistant=name,
        dataset=shown,
        verified=verified,
        sheet=dataset.datasheet,
        rows={row.id: row for row in rows},
        dropped=dropped,
        stages=STAGES,
        rules=rules(dataset.datasheet),
        settings=settings_of(dataset.datasheet),
        run=shown.runs[0] if shown.runs else None,
    )
