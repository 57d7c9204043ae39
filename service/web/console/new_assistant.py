"""`/console/assistants/new`: a new assistant, with the first things that its guidelines say."""

from litestar import get, post

from feedback import guidelines
from feedback.config import Settings
from feedback.database import Database
from feedback.errors import InvalidInput
from feedback.guidelines import Draft
from service.web.console.settings.guidelines import LISTS, TITLES, fields_of, typed_texts, wrong_field
from service.web.page import AnyResponse, Form, Page, signed_in

FIRST = ("system_prompt", "purpose", "tone", "boundaries")
"""What is asked for at once; the rest can wait."""


@get("/console/assistants/new", guards=[signed_in("administer", everywhere=True)], sync_to_thread=False)
def show_form(page: Page, settings: Settings) -> AnyResponse:
    return _show(page, settings, Form({}))


@post(
    "/console/assistants/new",
    guards=[signed_in("administer", everywhere=True)],
    status_code=200,
    sync_to_thread=True,
)
def create_assistant(page: Page, form: Form, database: Database, settings: Settings) -> AnyResponse:
    name = form.text("name").strip()
    try:
        draft = guidelines.checked(fields_of(form))
        with database.write() as session:
            guidelines.begin(session, name, settings.base_model, draft, actor=page.caller.actor)
    except InvalidInput as error:
        return _show(page, settings, form, error)
    return page.go(f"/console/a/{name}/settings", "{name} is there: it answers as {name} in a moment.", name=name)


def _show(page: Page, settings: Settings, typed: Form, error: InvalidInput | None = None) -> AnyResponse:
    field = "" if error is None else "name" if error.param == "name" else wrong_field(error)
    return page.render(
        "console/new_assistant.html",
        status=200 if error is None else 400,
        base_model=settings.base_model,
        name=typed.text("name"),
        titles={name: TITLES[name] for name in FIRST},
        fields=Draft.model_fields,
        lists=LISTS,
        texts=typed_texts(typed),
        wrong={field: error.message} if error is not None else {},
    )
