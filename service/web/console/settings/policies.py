"""`/console/a/NAME/settings/policies`: every setting of an assistant, a form a section; and what silence means.

Leaves out how a section becomes a form (fields.py).
"""

import json
from dataclasses import dataclass
from typing import Any

from litestar import get, post
from sqlmodel import Session

from feedback import assistants
from feedback.database import Database
from feedback.errors import Conflict, InvalidInput, NotFound
from feedback.models import Assistant
from feedback.policies import Changes
from feedback.states import Consent
from service.auth import visible
from service.web.console.settings import fields
from service.web.page import AnyResponse, Form, Page, signed_in


@dataclass(frozen=True)
class Section:
    name: str
    title: str
    about: str
    settings: int
    changed: list[fields.Row]
    """What differs from its default."""


@get("/console/a/{name:str}/settings/policies", guards=[signed_in("operate")], sync_to_thread=True)
def show_policies(name: str, page: Page, database: Database) -> AnyResponse:
    with database.read() as session:
        present = _present(visible(session, page.caller, name))
    return page.render("console/settings/policies.html", assistant=name, sections=_sections(present), said=fields.said)


@get("/console/a/{name:str}/settings/policies/{section:str}", guards=[signed_in("operate")], sync_to_thread=True)
def show_section(name: str, section: str, page: Page, database: Database) -> AnyResponse:
    _check(section)
    with database.read() as session:
        present = _present(visible(session, page.caller, name))
    return _render(page, name, section, present, fields.rows(section, present[section]))


@post(
    "/console/a/{name:str}/settings/policies/{section:str}",
    guards=[signed_in("operate")],
    status_code=200,
    sync_to_thread=True,
)
def change_section(name: str, section: str, page: Page, form: Form, database: Database) -> AnyResponse:
    """Sets what was changed: what others set meanwhile stays. `reset`: the setting that goes back to its default."""
    _check(section)
    typed, seen = fields.read(section, form), _seen(form)
    wrong = dict(typed.wrong)
    for setting in fields.settings_of(section):
        if setting.name == form.text("reset"):
            typed.values[setting.name] = setting.default
            wrong.pop(setting.name, None)
    if not wrong:
        changes = {section: found} if (found := fields.differing(section, seen, typed.values)) else {}
        try:
            with database.write() as session:
                _set(session, page, name, changes, {section: seen})
        except (InvalidInput, Conflict) as error:
            wrong = {_about(section, error.param): error.message}
        else:
            where = f"/console/a/{name}/settings/policies/{section}"
            return page.go(where, "Saved." if changes else "Nothing was different.")
    with database.read() as session:
        present = _present(visible(session, page.caller, name))
    return _render(page, name, section, present, fields.typed_rows(section, present[section], form, wrong), wrong)


@get("/console/a/{name:str}/settings/policies/{section:str}/reset", guards=[signed_in("operate")], sync_to_thread=True)
def confirm_reset(name: str, section: str, page: Page, database: Database) -> AnyResponse:
    _check(section)
    with database.read() as session:
        present = _present(visible(session, page.caller, name))
    changed = [row for row in fields.rows(section, present[section]) if row.changed]
    return page.render(
        "console/settings/policies_reset.html",
        assistant=name,
        section=section,
        title=fields.TITLES[section],
        changed=changed,
        said=fields.said,
        seen=json.dumps(present[section]),
    )


@post(
    "/console/a/{name:str}/settings/policies/{section:str}/reset",
    guards=[signed_in("operate")],
    status_code=200,
    sync_to_thread=True,
)
def reset_section(name: str, section: str, page: Page, form: Form, database: Database) -> AnyResponse:
    _check(section)
    seen = _seen(form)
    defaults = {setting.name: setting.default for setting in fields.settings_of(section)}
    changes = fields.differing(section, seen, defaults)
    with database.write() as session:
        _set(session, page, name, {section: changes} if changes else {}, {section: seen})
    return page.go(f"/console/a/{name}/settings/policies/{section}", "All of this section is back at its defaults.")


@get("/console/a/{name:str}/settings/consent", guards=[signed_in("operate")], sync_to_thread=True)
def show_consent(name: str, page: Page, database: Database) -> AnyResponse:
    with database.read() as session:
        assistant = visible(session, page.caller, name)
    return page.render("console/settings/consent.html", assistant=name, consent=assistant.consent)


@post("/console/a/{name:str}/settings/consent", guards=[signed_in("operate")], status_code=200, sync_to_thread=True)
def change_consent(name: str, page: Page, form: Form, database: Database) -> AnyResponse:
    if form.text("consent") not in set(Consent):
        raise InvalidInput("Consent is opt_out or opt_in: choose one.", param="consent")
    with database.write() as session:
        assistant = visible(session, page.caller, name)
        assistants.set_consent(session, assistant, Consent(form.text("consent")), actor=page.caller.actor)
    return page.go(f"/console/a/{name}/settings/consent", "Saved.")


def _set(session: Session, page: Page, name: str, changes: Changes, seen: Changes) -> None:
    assistant = visible(session, page.caller, name)
    assistants.set_policies(session, assistant, changes, actor=page.caller.actor, seen=seen)


def _render(
    page: Page,
    name: str,
    section: str,
    present: Changes,
    rows: list[fields.Row],
    wrong: dict[str, str] | None = None,
) -> AnyResponse:
    return page.render(
        "console/settings/policies_section.html",
        status=400 if wrong else 200,
        assistant=name,
        section=section,
        title=fields.TITLES[section],
        about=fields.about(section),
        sections=_sections(present),
        rows=rows,
        wrong=wrong or {},
        said=fields.said,
        seen=json.dumps(present[section]),
    )


def _sections(present: Changes) -> list[Section]:
    made = []
    for name, title in fields.TITLES.items():
        found = fields.rows(name, present[name])
        made.append(Section(name, title, fields.about(name), len(found), [row for row in found if row.changed]))
    return made


def _present(assistant: Assistant) -> Changes:
    return assistants.policies(assistant).model_dump(mode="json")


def _check(section: str) -> None:
    if section not in fields.TITLES:
        raise NotFound("There is no such page.")


def _seen(form: Form) -> dict[str, Any]:
    """What the form showed. Raises InvalidInput."""
    try:
        seen = json.loads(form.text("seen"))
    except (ValueError, RecursionError):
        seen = None
    if not isinstance(seen, dict):
        raise InvalidInput("This form is incomplete: open the page again and send it from there.")
    return seen


def _about(section: str, param: str | None) -> str:
    """The setting that an error is about, "" for the whole section: `verdict.required_guards.0`."""
    of, _, rest = (param or "").partition(".")
    name = rest.partition(".")[0]
    return name if of == section and any(one.name == name for one in fields.settings_of(section)) else ""
