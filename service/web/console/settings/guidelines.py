"""`/console/a/NAME/settings`: what an assistant is for and how it speaks; what was said before; back to that."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from litestar import get, post

from feedback import assistants, guidelines
from feedback.database import Database
from feedback.errors import Conflict, InvalidInput
from feedback.guidelines import Draft
from feedback.models import Guidelines
from service.auth import visible
from service.web.console.asked import place
from service.web.page import AnyResponse, Form, Page, signed_in
from service.web.word_diff import Piece, word_diff

TITLES = {
    "system_prompt": "System prompt",
    "purpose": "Purpose",
    "tone": "Tone",
    "boundaries": "Boundaries",
    "sensitive_topics": "Sensitive topics",
    "disclaimer": "Disclaimer",
    "review_due": "Read again from",
}
LISTS = ("boundaries", "sensitive_topics")
"""A sentence a line."""
SHOWN = 20
PAGE = "console/settings/guidelines.html"


@dataclass(frozen=True)
class Version:
    number: int
    made: datetime
    changed: list[str]
    """Titles of the fields in which it differs from the one before."""


@dataclass(frozen=True)
class Preview:
    text: str
    unreadable: str
    """Why there is none."""


@dataclass(frozen=True)
class FieldsDifference:
    title: str
    parts: list[Piece]


@get("/console/a/{name:str}/settings", guards=[signed_in("operate")], sync_to_thread=True)
def show_guidelines(name: str, page: Page, database: Database) -> AnyResponse:
    return _show(page, database, name)


@post("/console/a/{name:str}/settings", guards=[signed_in("operate")], status_code=200, sync_to_thread=True)
def change_guidelines(name: str, page: Page, form: Form, database: Database) -> AnyResponse:
    if form.ticked("preview"):
        return _show(page, database, name, typed=form)
    try:
        draft = guidelines.checked(fields_of(form))
        with database.write() as session:
            assistant = visible(session, page.caller, name)
            seen = place(form.text("version"))
            made = guidelines.revise(session, assistant, draft, actor=page.caller.actor, made_from=seen)
    except (InvalidInput, Conflict) as error:
        return _show(page, database, name, typed=form, error=error)
    return page.go(f"/console/a/{name}/settings", "Version {n} of the guidelines is current.", n=made.version)


@post("/console/a/{name:str}/settings/preview", guards=[signed_in("operate")], status_code=200, sync_to_thread=True)
def preview_guidelines(name: str, page: Page, form: Form, database: Database) -> AnyResponse:
    """The system prompt alone, while somebody types."""
    with database.read() as session:
        visible(session, page.caller, name)
    made = _preview(form)
    return page.render("console/settings/guidelines_preview.html", text=made.text, unreadable=made.unreadable)


@get("/console/a/{name:str}/settings/guidelines/{version:int}", guards=[signed_in("operate")], sync_to_thread=True)
def show_version(name: str, version: int, page: Page, database: Database) -> AnyResponse:
    """What it says, and how that differs from the version before, or from `?against=`."""
    with database.read() as session:
        assistant = visible(session, page.caller, name)
        shown = guidelines.get_version(session, assistant, version)
        current = assistants.current_guidelines(session, assistant)
        against = place(page.asked("against")) or max(1, version - 1)
        other = guidelines.get_version(session, assistant, against)
    return page.render(
        "console/settings/guidelines_version.html",
        assistant=name,
        shown=shown,
        against=other,
        current=current,
        text=guidelines.system_prompt_of(shown),
        differences=differences_between(other, shown),
    )


@post(
    "/console/a/{name:str}/settings/guidelines/{version:int}/restore",
    guards=[signed_in("operate")],
    status_code=200,
    sync_to_thread=True,
)
def restore_version(name: str, version: int, page: Page, form: Form, database: Database) -> AnyResponse:
    with database.write() as session:
        assistant = visible(session, page.caller, name)
        seen = place(form.text("version"))
        made = guidelines.restore(session, assistant, version, actor=page.caller.actor, made_from=seen)
    return page.go(
        f"/console/a/{name}/settings", "Version {n} says what version {old} said.", n=made.version, old=version
    )


def fields_of(form: Form) -> dict[str, Any]:
    """What guidelines.checked takes, of what somebody typed."""
    texts = {name: form.text(name) for name in Draft.model_fields}
    lines = {name: [line.strip() for line in texts[name].split("\n") if line.strip()] for name in LISTS}
    return {**texts, **lines, "review_due": form.given("review_due")}


def texts_of(draft: Draft) -> dict[str, str]:
    """The other way round."""
    fields = draft.model_dump()
    lists = {name: "\n".join(fields[name]) for name in LISTS}
    return {**fields, **lists, "review_due": draft.review_due.isoformat() if draft.review_due else ""}


def typed_texts(form: Form) -> dict[str, str]:
    return {name: form.text(name) for name in Draft.model_fields}


def differences_between(before: Guidelines, after: Guidelines) -> list[FieldsDifference]:
    old, new = texts_of(guidelines.draft_of(before)), texts_of(guidelines.draft_of(after))
    return [
        FieldsDifference(title, _difference(old[name], new[name]))
        for name, title in TITLES.items()
        if old[name] != new[name]
    ]


def _difference(before: str, after: str) -> list[Piece]:
    pieces = word_diff(before, after)
    if any(piece.change != "same" for piece in pieces):
        return pieces
    return [Piece("out", before), Piece("in", after)]  # spaces alone, which make lines of a list


def wrong_field(error: InvalidInput | Conflict) -> str:
    """The field that an error is about, "" for the whole: `boundaries.0` is about `boundaries`."""
    field = (error.param or "").partition(".")[0]
    return field if field in TITLES else ""


def _show(
    page: Page,
    database: Database,
    name: str,
    *,
    typed: Form | None = None,
    error: InvalidInput | Conflict | None = None,
) -> AnyResponse:
    before = place(page.asked("before"))
    preview = _preview(typed) if typed is not None else None
    with database.read() as session:
        assistant = visible(session, page.caller, name)
        current = assistants.current_guidelines(session, assistant)
        found = guidelines.versions(session, assistant, before=before, limit=SHOWN + 1)
        seen = place(typed.text("version")) if typed is not None else None
        overtaken = isinstance(error, Conflict) and seen is not None
        meanwhile = guidelines.get_version(session, assistant, seen) if overtaken and seen is not None else None
    return page.render(
        PAGE,
        status=200 if error is None else 400,
        assistant=name,
        titles=TITLES,
        fields=Draft.model_fields,
        lists=LISTS,
        current=current,
        texts=typed_texts(typed) if typed is not None else texts_of(guidelines.draft_of(current)),
        wrong={wrong_field(error): error.message} if error is not None else {},
        meanwhile=differences_between(meanwhile, current) if meanwhile is not None else None,
        overdue=guidelines.is_review_due(current),
        history=_history(found)[:SHOWN],
        older=found[SHOWN - 1].version if len(found) > SHOWN else None,
        text=guidelines.system_prompt_of(current) if preview is None else preview.text,
        unreadable="" if preview is None else preview.unreadable,
    )


def _preview(form: Form) -> Preview:
    try:
        return Preview(guidelines.system_prompt_of(guidelines.checked(fields_of(form))), "")
    except InvalidInput as error:
        return Preview("", error.message)


def _history(found: list[Guidelines]) -> list[Version]:
    before = [*found[1:], None]
    return [
        Version(
            one.version,
            one.created_at,
            [title for name, title in TITLES.items() if old is not None and getattr(old, name) != getattr(one, name)],
        )
        for one, old in zip(found, before, strict=True)
    ]
