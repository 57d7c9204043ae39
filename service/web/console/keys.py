"""`/console/keys`: who may use the service, as what, on which assistants. A key's text is on one page, once."""

from litestar import get, post
from sqlmodel import Session

from feedback import keys
from feedback.assistants import BASE_VERSION, list_assistants
from feedback.database import Database
from feedback.errors import BurnishError, Forbidden, InvalidInput, NotFound
from feedback.keys import Caller
from feedback.states import Role
from service.api.keys import read_keys
from service.web.console.asked import place
from service.web.page import AnyResponse, Form, Page, is_secure, signed_in

SHOWN = 50
MOST_NAME = 100
MAY = {
    Role.CHAT: "chats, and says what it thinks of the replies",
    Role.FEEDBACK: "only gives feedback: safe to put into a page",
    Role.REVIEWER: "reads feedback and decides on it",
    Role.OPERATOR: "all of that, and runs, promotes, rolls back, changes settings",
    Role.ADMIN: "all of that, and makes assistants and keys",
}


@get("/console/keys", guards=[signed_in("administer")], sync_to_thread=True)
def show_keys(page: Page, database: Database) -> AnyResponse:
    return _show(page, database)


@post("/console/keys", guards=[signed_in("administer")], status_code=200, sync_to_thread=True)
def create_key(page: Page, form: Form, database: Database) -> AnyResponse:
    try:
        if form.text("role") not in set(Role):
            raise InvalidInput("Choose what the key may do.", param="role")
        name, role, limits = form.text("name")[:MOST_NAME], Role(form.text("role")), form.all("assistants")
        if form.text("reach") == "some" and not limits:
            raise InvalidInput("Choose the assistants that the key may see, or all of them.", param="assistants")
        with database.write() as session:
            wanted = limits if form.text("reach") == "some" else ()
            key, text = keys.create(session, name, role, wanted, actor=page.caller.actor, by=page.caller)
            (made,) = read_keys(session, [key])
            names = made.assistants or _choice(session, page.caller)
    except (InvalidInput, Forbidden, NotFound) as error:
        return _show(page, database, typed=form, error=error)
    address = page.request.url
    url = f"{'https' if is_secure(page.request) else address.scheme}://{address.netloc}"
    return page.render("console/key_made.html", key=made, text=text, model=[*names, BASE_VERSION][0], url=url, may=MAY)


@get("/console/keys/{key_id:int}/revoke", guards=[signed_in("administer")], sync_to_thread=True)
def confirm_revocation(key_id: int, page: Page, database: Database) -> AnyResponse:
    with database.read() as session:
        (key,) = read_keys(session, [keys.get_key(session, key_id, by=page.caller)])
    return page.render("console/key_revoke.html", key=key, own=key_id == page.caller.api_key_id)


@post("/console/keys/{key_id:int}/revoke", guards=[signed_in("administer")], status_code=200, sync_to_thread=True)
def revoke_key(key_id: int, page: Page, database: Database) -> AnyResponse:
    with database.write() as session:
        key = keys.revoke(session, key_id, actor=page.caller.actor, by=page.caller)
    where = "/sign-in" if key_id == page.caller.api_key_id else "/console/keys"
    return page.go(where, "The key {name} opens nothing any more.", name=key.name)


def _show(
    page: Page, database: Database, *, typed: Form | None = None, error: BurnishError | None = None
) -> AnyResponse:
    with database.read() as session:
        found = keys.newest_keys(session, page.caller, before=place(page.asked("after")), limit=SHOWN + 1)
        shown = read_keys(session, found[:SHOWN])
        choice = _choice(session, page.caller)
    return page.render(
        "console/keys.html",
        status=200 if error is None else 400,
        keys=shown,
        after=found[SHOWN - 1].id if len(found) > SHOWN else None,
        roles=MAY,
        choice=choice,
        limited=page.caller.assistant_ids is not None,
        typed=typed or Form({"role": Role.CHAT.value, "reach": "all"}),
        wrong=error.message if error is not None else "",
    )


def _choice(session: Session, caller: Caller) -> list[str]:
    return [one.name for one in list_assistants(session) if caller.sees(one) and one.name != BASE_VERSION]
