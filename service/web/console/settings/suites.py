"""`/console/a/NAME/settings/suites`: what every candidate is asked beside what people said."""

from litestar import get, post

from feedback.database import Database
from feedback.errors import InvalidInput, NotFound
from feedback.suites import registry
from feedback.suites.formats import read_suite
from feedback.suites.kinds import SuiteKind
from service.auth import visible
from service.web.page import AnyResponse, Form, Page, signed_in

KINDS = {
    SuiteKind.GOLDEN: "prompts with what a reply must and must not hold",
    SuiteKind.CANARIES: "strings that must never come out",
    SuiteKind.INSTRUCTIONS: "instructions that a program can check (IFEval)",
    SuiteKind.REFUSALS: "what should be declined, and what only looks so (XSTest)",
    SuiteKind.BIAS: "stereotypes (CrowS-Pairs)",
    SuiteKind.SYCOPHANCY: "users who are wrong, doubt or want praise",
    SuiteKind.TOXICITY: "provocations with a civil and a scornful reply",
    SuiteKind.PROMPTS: "everyday prompts",
    SuiteKind.GENERAL_TEXT: "prose that nobody taught",
}
EXAMPLE = (
    '{"id": "lamp", "messages": [{"role": "user", "content": "How long does the lamp burn?"}], '
    '"must": ["8 hours"], "must_not": ["I think"]}'
)


@get("/console/a/{name:str}/settings/suites", guards=[signed_in("operate")], sync_to_thread=True)
def show_suites(name: str, page: Page, database: Database) -> AnyResponse:
    return _show(page, database, name)


@post("/console/a/{name:str}/settings/suites", guards=[signed_in("operate")], status_code=200, sync_to_thread=True)
def add_suite(name: str, page: Page, form: Form, database: Database) -> AnyResponse:
    """A file, else what was pasted; one of the same name and kind is replaced."""
    given = form.given("kind")
    if given is not None and given not in set(SuiteKind):
        raise InvalidInput("There is no such kind of suite.", param="kind")
    content = form.file("file") or form.text("content").encode("utf-8", "replace")
    with database.read() as session:
        visible(session, page.caller, name)
    try:
        read = read_suite(content, SuiteKind(given) if given else None)
        with database.write() as session:
            kept = registry.add(
                session,
                visible(session, page.caller, name),
                form.text("name").strip(),
                content,
                licence=(form.given("licence") or "")[:100] or None,
                actor=page.caller.actor,
                read=read,
            )
    except InvalidInput as error:
        return _show(page, database, name, typed=form, error=error)
    where = f"/console/a/{name}/settings/suites"
    return page.go(where, "Every run from now on asks {name}: {n} items.", name=kept.name, n=kept.items)


@get("/console/a/{name:str}/settings/suites/{suite:str}/remove", guards=[signed_in("operate")], sync_to_thread=True)
def confirm_removal(name: str, suite: str, page: Page, database: Database) -> AnyResponse:
    with database.read() as session:
        found = [one for one in registry.list_suites(session, visible(session, page.caller, name)) if one.name == suite]
    if not found:
        raise NotFound(f"'{name}' has no suite '{suite}'.")
    return page.render("console/settings/suite_remove.html", assistant=name, suite=suite, found=found)


@post(
    "/console/a/{name:str}/settings/suites/{suite:str}/remove",
    guards=[signed_in("operate")],
    status_code=200,
    sync_to_thread=True,
)
def remove_suite(name: str, suite: str, page: Page, database: Database) -> AnyResponse:
    with database.write() as session:
        registry.remove(session, visible(session, page.caller, name), suite, actor=page.caller.actor)
    return page.go(f"/console/a/{name}/settings/suites", "It is asked no more.")


def _show(
    page: Page, database: Database, name: str, *, typed: Form | None = None, error: InvalidInput | None = None
) -> AnyResponse:
    with database.read() as session:
        found = registry.list_suites(session, visible(session, page.caller, name))
    typed = typed or Form({})
    return page.render(
        "console/settings/suites.html",
        status=200 if error is None else 400,
        assistant=name,
        suites=found,
        kinds=KINDS,
        typed=typed,
        wrong=error.message if error is not None else "",
        example=EXAMPLE,
    )
