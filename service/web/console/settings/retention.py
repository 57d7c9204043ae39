"""`/console/a/NAME/settings/retention`: how long conversations are kept; what would go is looked at before it goes."""

from litestar import get, post

from feedback import assistants, retention
from feedback.database import Database
from feedback.errors import InvalidInput
from service.api.retention import LONGEST_DAYS, PORTIONS
from service.auth import visible
from service.web.console.settings.erasures import ROWS
from service.web.page import AnyResponse, Form, Page, signed_in


@get("/console/a/{name:str}/settings/retention", guards=[signed_in("operate")], sync_to_thread=True)
def show_retention(name: str, page: Page, database: Database) -> AnyResponse:
    """`?days=90`: what would go then; `days=` for ever."""
    asked = page.request.query_params.get("days")
    with database.read() as session:
        assistant = visible(session, page.caller, name)
        present = assistants.policies(assistant).retention.message_days
        would, wrong, days = None, "", present
        if asked is not None:
            try:
                days = _days(asked)
            except InvalidInput as error:
                wrong = error.message
            else:
                since = retention.since_days(days) if days is not None else None
                would = retention.would_erase(session, assistant, since=since, most=PORTIONS) if since else None
    return page.render(
        "console/settings/retention.html",
        status=400 if wrong else 200,
        assistant=name,
        present=present,
        text=(str(present) if present is not None else "") if asked is None else asked,
        asked=asked is not None and not wrong,
        days=days,
        would=would,
        wrong=wrong,
        rows=ROWS,
    )


@post("/console/a/{name:str}/settings/retention", guards=[signed_in("operate")], status_code=200, sync_to_thread=True)
def change_retention(name: str, page: Page, form: Form, database: Database) -> AnyResponse:
    days, seen = _days(form.text("days")), _days(form.text("seen"))
    with database.write() as session:
        assistant = visible(session, page.caller, name)
        changes = {"retention": {"message_days": days}} if days != seen else {}
        shown = {"retention": {"message_days": seen}}
        assistants.set_policies(session, assistant, changes, actor=page.caller.actor, seen=shown)
    return page.go(f"/console/a/{name}/settings/retention", "Saved.")


def _days(text: str) -> int | None:
    text = text.strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= LONGEST_DAYS):
        raise InvalidInput(f"Days are a whole number from 1 to {LONGEST_DAYS}, or empty: for ever.", param="days")
    return int(text)
