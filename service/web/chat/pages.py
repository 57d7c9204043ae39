"""`/`: a new conversation, and all that a person had here: read on, search, rename, take away, take out for good."""

from typing import Any

from litestar import Response, get, post
from litestar.response import Stream
from sqlmodel import Session

from feedback import assistants, own_conversations
from feedback.assistants import BASE_VERSION, current_guidelines
from feedback.database import Database
from feedback.guidelines import Draft, draft_of
from feedback.models import Assistant
from feedback.own_conversations import OwnConversation
from service.api.conversations import export_lines
from service.web.chat import said, thread
from service.web.chat.thread import BEGINNING, person_of
from service.web.page import AnyResponse, Form, Page, signed_in

HISTORY_SHOWN = 40


@get("/", guards=[signed_in("chat")], sync_to_thread=True)
def show_new(page: Page, database: Database) -> AnyResponse:
    with database.read() as session:
        known = _assistants(session, page)
        asked = page.asked("assistant")
        chosen = next((one for one in known if one.name == asked), known[0] if known else None)
        about = draft_of(current_guidelines(session, chosen)) if chosen else Draft()
        listed = _history(session, page)
    names = [one.name for one in known]
    return page.render("chat/new.html", assistants=names, assistant=chosen, about=about, **listed)


@get("/c/{label:str}", guards=[signed_in("chat")], sync_to_thread=True)
def show_conversation(page: Page, database: Database, label: str) -> AnyResponse:
    found = thread.load(page, label)
    with database.read() as session:
        about = draft_of(current_guidelines(session, assistants.get_assistant(session, found.assistant)))
        listed = _history(session, page)
    turns = thread.line(found)
    asked = said.what_to_ask(page, turns)
    return page.render("chat/thread.html", thread=found, turns=turns, about=about, asked=asked, **listed)


@post("/c/{label:str}/rename", guards=[signed_in("chat")], status_code=200, sync_to_thread=True)
def rename(page: Page, database: Database, label: str, form: Form) -> AnyResponse:
    with database.write() as session:
        own_conversations.rename(session, person_of(page), label, form.text("title"))
    return page.go(f"/c/{label}")


@get("/c/{label:str}/erase", guards=[signed_in("chat")], sync_to_thread=True)
def ask_to_erase(page: Page, database: Database, label: str) -> AnyResponse:
    found = thread.load(page, label)
    with database.read() as session:
        listed = _history(session, page)
    count = sum(len(message.feedback) for message in found.messages)
    return page.render("chat/erase.html", thread=found, said=count, **listed)


@post("/c/{label:str}/erase", guards=[signed_in("chat")], status_code=200, sync_to_thread=True)
def erase(page: Page, database: Database, label: str) -> AnyResponse:
    own_conversations.erase_own(database, person_of(page), label)
    return page.go("/", "The conversation is gone, with everything said about it.")


@get("/own-data", guards=[signed_in("chat")], sync_to_thread=True)
def show_own_data(page: Page, database: Database) -> AnyResponse:
    with database.read() as session:
        listed = _history(session, page)
    return page.render("chat/own_data.html", named=page.someone.user is not None, **listed)


@get("/own-data/export", guards=[signed_in("chat")], sync_to_thread=True)
def export(page: Page, database: Database) -> Response[Any]:
    """Everything, a conversation a line."""
    beginning = BEGINNING if page.someone.user is None else None
    headers = {"content-disposition": 'attachment; filename="conversations.jsonl"', "cache-control": "no-store"}
    lines = export_lines(database, person_of(page), beginning=beginning)
    return Stream(lines, media_type="application/jsonl", headers=headers)


@post("/own-data/erase", guards=[signed_in("chat")], status_code=200, sync_to_thread=True)
def erase_all(page: Page, database: Database, form: Form) -> AnyResponse:
    if not form.ticked("sure"):
        return page.go("/own-data", "Nothing was erased: tick the box to say that you are sure.")
    own_conversations.erase_person(database, person_of(page))
    return page.go("/own-data", "Everything of yours is gone.")


def _history(session: Session, page: Page) -> dict[str, Any]:
    """What the list beside every chat page shows."""
    asked, after = (page.asked("search") or "")[:200], page.asked("after")
    found: list[OwnConversation] = own_conversations.list_own(
        session, person_of(page), search=asked or None, beginning=BEGINNING, after=after, limit=HISTORY_SHOWN + 1
    )
    older = found[HISTORY_SHOWN - 1].id if len(found) > HISTORY_SHOWN else None
    return {"history": found[:HISTORY_SHOWN], "older": older, "search": asked}


def _assistants(session: Session, page: Page) -> list[Assistant]:
    """Those that one may talk to; the bare base only where there is nothing else."""
    seen = [one for one in assistants.list_assistants(session) if page.caller.sees(one)]
    return [one for one in seen if one.name != BASE_VERSION] or seen
