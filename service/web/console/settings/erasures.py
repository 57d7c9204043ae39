"""`/console/a/NAME/settings/erasures`: what was taken out for good and how far that is; and taking more out.

Names of people are never part of an address: they are posted, to a page that says what would go, and from there.
"""

from dataclasses import dataclass

from litestar import get, post

from feedback.database import Database
from feedback.erasure import erase as erasing
from feedback.erasure.subjects import Named, resolve
from feedback.errors import InvalidInput, NotFound
from feedback.states import ErasureState
from service.auth import visible
from service.secret import Secret
from service.web.page import AnyResponse, Form, Page, signed_in

SHOWN = 30
SUBJECTS = {
    "user": "A person, by the name that the app sends",
    "contributor": "A person, by their keyed hash",
    "conversation": "A conversation, by its id",
    "completion": "The conversation of a completion",
    "feedback": "A piece of feedback",
}
ROWS = {
    "contributor": "people",
    "conversation": "conversations",
    "message": "messages",
    "feedback": "pieces of feedback",
    "report_case": "cases of reports",
    "review": "reviewers’ decisions",
    "shadow_reply": "replies that nobody saw",
    "example_source": "traces from feedback to rows",
    "dataset_rows": "rows of datasets",
}
"""What the tables' rows are, to people."""
STATES = {
    ErasureState.ROWS_GONE: "In no table any more; a worker still takes it out of the runs’ files.",
    ErasureState.FILES_GONE: "In no table and no file; the database’s free space is still to be emptied.",
    ErasureState.COMPLETE: "In no table, no file of the data folder and no free space of the database.",
}


@dataclass(frozen=True)
class Asked:
    """What somebody wants erased."""

    what: str
    name: str
    key: str | None

    @property
    def named(self) -> Named:
        if self.what not in SUBJECTS:
            raise InvalidInput("Say what to erase.", param="what")
        if not self.name:
            raise InvalidInput("Say which one.", param="name")
        return Named(**{self.what: self.name}, key=self.key if self.what == "user" else None)


@get("/console/a/{name:str}/settings/erasures", guards=[signed_in("operate")], sync_to_thread=True)
def show_erasures(name: str, page: Page, database: Database) -> AnyResponse:
    """`?what=feedback&id=fb-…` fills the form in."""
    return _show(page, database, name, Asked(page.asked("what") or "user", page.asked("id") or "", None))


@post(
    "/console/a/{name:str}/settings/erasures/preview",
    guards=[signed_in("operate")],
    status_code=200,
    sync_to_thread=True,
)
def preview_erasure(name: str, page: Page, form: Form, database: Database, secret: Secret) -> AnyResponse:
    asked = _asked(form)
    try:
        with database.read() as session:
            assistant = visible(session, page.caller, name)
            would = erasing.preview(session, assistant, resolve(session, secret.value, assistant, asked.named))
    except (InvalidInput, NotFound) as error:
        return _show(page, database, name, asked, error)
    return page.render(
        "console/settings/erasure_preview.html",
        assistant=name,
        asked=asked,
        subject=SUBJECTS[asked.what],
        would=would,
        rows=ROWS,
    )


@post("/console/a/{name:str}/settings/erasures", guards=[signed_in("operate")], status_code=200, sync_to_thread=True)
def erase(name: str, page: Page, form: Form, database: Database, secret: Secret) -> AnyResponse:
    with database.read() as session:
        assistant = visible(session, page.caller, name)
        subject = resolve(session, secret.value, assistant, _asked(form).named)
    made, _ = erasing.erase(database, assistant, subject, actor=page.caller.actor)
    return page.go(f"/console/a/{name}/settings/erasures/{made.public_id}", "It is erased. This is the receipt.")


@get("/console/a/{name:str}/settings/erasures/{erasure_id:str}", guards=[signed_in("operate")], sync_to_thread=True)
def show_erasure(name: str, erasure_id: str, page: Page, database: Database) -> AnyResponse:
    with database.read() as session:
        assistant = visible(session, page.caller, name)
        found = erasing.get_erasure(session, erasure_id)
    if found.assistant_id != assistant.id:
        raise NotFound(f"No erasure '{erasure_id}'.", param="id")
    return page.render(
        "console/settings/erasure.html", assistant=name, erasure=found, rows=ROWS, says=STATES[found.state]
    )


def _show(
    page: Page, database: Database, name: str, asked: Asked, error: InvalidInput | NotFound | None = None
) -> AnyResponse:
    with database.read() as session:
        assistant = visible(session, page.caller, name)
        found = erasing.list_erasures(session, assistant, SHOWN + 1, page.asked("after"))
    return page.render(
        "console/settings/erasures.html",
        status=200 if error is None else 400,
        assistant=name,
        asked=asked,
        wrong=error.message if error is not None else "",
        erasures=found[:SHOWN],
        after=found[SHOWN - 1].public_id if len(found) > SHOWN else None,
        subjects=SUBJECTS,
        rows=ROWS,
    )


def _asked(form: Form) -> Asked:
    return Asked(form.text("what"), form.text("name").strip(), form.given("key"))
