"""`/console/a/NAME/settings/webhooks`: who is told of runs and releases, and whether it got there."""

from litestar import get, post

from feedback.database import Database
from feedback.errors import InvalidInput
from feedback.webhooks import deliveries, hooks
from service.auth import visible
from service.web.page import AnyResponse, Form, Page, signed_in

SHOWN = 30


@get("/console/a/{name:str}/settings/webhooks", guards=[signed_in("operate")], sync_to_thread=True)
def show_webhooks(name: str, page: Page, database: Database) -> AnyResponse:
    return _show(page, database, name)


@post("/console/a/{name:str}/settings/webhooks", guards=[signed_in("operate")], status_code=200, sync_to_thread=True)
def add_webhook(name: str, page: Page, form: Form, database: Database) -> AnyResponse:
    """Answers with the secret, which isn't told again."""
    try:
        with database.write() as session:
            assistant = visible(session, page.caller, name)
            actor = page.caller.actor
            made = hooks.add(session, assistant, form.text("url").strip(), form.all("events"), actor=actor)
    except InvalidInput as error:
        return _show(page, database, name, typed=form, error=error)
    return page.render("console/settings/webhook_made.html", assistant=name, hook=made)


@get("/console/a/{name:str}/settings/webhooks/{webhook_id:str}", guards=[signed_in("operate")], sync_to_thread=True)
def show_webhook(name: str, webhook_id: str, page: Page, database: Database) -> AnyResponse:
    """What it was told lately, and how it answered."""
    with database.read() as session:
        hook = hooks.get_hook(session, visible(session, page.caller, name), webhook_id)
        after = page.asked("after")
        found = deliveries.list_deliveries(session, hook, after=after, limit=SHOWN + 1)
    return page.render(
        "console/settings/webhook.html",
        assistant=name,
        hook=hook,
        deliveries=found[:SHOWN],
        after=found[SHOWN - 1].public_id if len(found) > SHOWN else None,
    )


@get(
    "/console/a/{name:str}/settings/webhooks/{webhook_id:str}/remove",
    guards=[signed_in("operate")],
    sync_to_thread=True,
)
def confirm_removal(name: str, webhook_id: str, page: Page, database: Database) -> AnyResponse:
    with database.read() as session:
        hook = hooks.get_hook(session, visible(session, page.caller, name), webhook_id)
    return page.render("console/settings/webhook_remove.html", assistant=name, hook=hook)


@post(
    "/console/a/{name:str}/settings/webhooks/{webhook_id:str}/remove",
    guards=[signed_in("operate")],
    status_code=200,
    sync_to_thread=True,
)
def remove_webhook(name: str, webhook_id: str, page: Page, database: Database) -> AnyResponse:
    with database.write() as session:
        hooks.remove(session, visible(session, page.caller, name), webhook_id, actor=page.caller.actor)
    return page.go(f"/console/a/{name}/settings/webhooks", "It is told no more.")


def _show(
    page: Page, database: Database, name: str, *, typed: Form | None = None, error: InvalidInput | None = None
) -> AnyResponse:
    with database.read() as session:
        found = hooks.list_hooks(session, visible(session, page.caller, name))
    return page.render(
        "console/settings/webhooks.html",
        status=200 if error is None else 400,
        assistant=name,
        hooks=found,
        events=hooks.EVENTS,
        url=typed.text("url") if typed is not None else "",
        ticked=typed.all("events") if typed is not None else [],
        wrong=error.message if error is not None else "",
    )
