"""What people say about replies on the chat page: one form for every kind, its undoing, and what to ask next."""

from dataclasses import dataclass
from typing import Any

from litestar import get, post

from feedback.collect import form as forms
from feedback.collect import intake
from feedback.collect.form import Form as Drawn
from feedback.collect.intake import Given
from feedback.database import Database
from feedback.erasure import withdrawal
from feedback.errors import InvalidInput, NotFound
from feedback.own_conversations import OwnMessage, OwnThread
from feedback.states import FeedbackKind
from service.web.chat import thread
from service.web.chat.thread import Shown
from service.web.page import AnyResponse, Form, Page, signed_in

TAGS = ("accurate", "well put", "kind", "inaccurate", "too long", "too short", "off topic")
"""Where the assistant's policy names none."""
PROMPT_AFTER_REPLIES = 2
"""Replies without any word on them after which the page asks whether they helped."""


@dataclass(frozen=True)
class Asked:
    """What the page asks at a conversation's end."""

    drawn: Drawn
    tags: tuple[str, ...]
    prompt: bool
    """Whether they helped: nothing was said about several replies."""


def what_to_ask(page: Page, turns: list[Shown]) -> Asked | None:
    """None before there is a reply."""
    answered = [turn.latest for turn in turns if turn.latest is not None]
    if not answered:
        return None
    last = answered[-1]
    with page.site.database.read() as session:
        drawn = forms.draw(
            session, page.site.secret, page.caller, last.completion_id or "", last.choice, user=page.someone.user
        )
    silent = not any(one.feedback for turn in turns for one in [*turn.replies, *turn.others])
    return Asked(drawn, drawn.tags or TAGS, prompt=silent and len(answered) >= PROMPT_AFTER_REPLIES)


@post("/c/{label:str}/say", guards=[signed_in("chat")], status_code=200, sync_to_thread=True)
def give(page: Page, database: Database, label: str, form: Form) -> AnyResponse:
    """Feedback of any kind on one of the conversation's replies."""
    found, reply = _reply(page, label, form)
    kind = _kind(form)
    given = Given(
        completion_id=reply.completion_id or "",
        choice=reply.choice,
        kind=kind,
        value=_value(kind, form),
        comment=form.given("comment") if kind != FeedbackKind.COMMENT else None,
        tags=tuple(form.all("tag")),
        user=page.someone.user if not form.ticked("anonymous") else None,
        anonymous=form.ticked("anonymous"),
        training=False if form.ticked("unlearnable") else None,
    )
    accepted = intake.receive(database, page.site.secret, page.caller, given)
    if form.ticked("anonymous"):
        return page.go(f"/receipt/{accepted.receipt}", "Thank you. Keep this page’s address: nothing else leads here.")
    return _shown(page, label, found, reply, "Thank you. What you said can make the next version better.")


@post("/c/{label:str}/undo", guards=[signed_in("chat")], status_code=200, sync_to_thread=True)
def undo(page: Page, database: Database, label: str, form: Form) -> AnyResponse:
    found, reply = _reply(page, label, form)
    mine = {said.id for message in found.messages for said in message.feedback}
    if (feedback_id := form.text("feedback")) not in mine:
        raise NotFound("You have said no such thing in this conversation, or have taken it back already.")
    withdrawal.withdraw(database, intake.make_receipt(page.site.secret, feedback_id))
    return _shown(page, label, found, reply, "Taken back.")


@get("/c/{label:str}/receipt/{feedback_id:str}", guards=[signed_in("chat")], sync_to_thread=True)
def show_receipt(page: Page, label: str, feedback_id: str) -> AnyResponse:
    """What became of something that was said here: its receipt can be made again, for its giver alone."""
    found = thread.load(page, label)
    if feedback_id not in {said.id for message in found.messages for said in message.feedback}:
        raise NotFound("You have said no such thing in this conversation, or have taken it back already.")
    return page.go(f"/receipt/{intake.make_receipt(page.site.secret, feedback_id)}")


def _reply(page: Page, label: str, form: Form) -> tuple[OwnThread, OwnMessage]:
    found = thread.load(page, label)
    reply = thread.find(found, form.text("completion_id"), form.number("choice") or 0)
    if reply is None:
        raise NotFound("There is no such reply in this conversation.")
    return found, reply


def _shown(page: Page, label: str, found: OwnThread, reply: OwnMessage, notice: str) -> AnyResponse:
    """The part of the page that says what was said about the reply, for htmx; else all of the page, at the reply."""
    if not page.by_htmx:
        return page.go(f"/c/{label}#r-{reply.completion_id}-{reply.choice}", notice)
    now = thread.load(page, label)
    turns = thread.line(now)
    fresh = thread.find(now, reply.completion_id or "", reply.choice)
    assert fresh is not None
    last, asked = fresh is turns[-1].latest, what_to_ask(page, turns)
    return page.render("chat/said.html", thread=now, reply=fresh, last=last, asked=asked, told=page.words(notice))


def _kind(form: Form) -> FeedbackKind:
    try:
        return FeedbackKind(form.text("kind"))
    except ValueError:
        raise InvalidInput("Say what kind of feedback it is.", param="kind") from None


def _value(kind: FeedbackKind, form: Form) -> Any:
    match kind:
        case FeedbackKind.RATING if form.given("stars"):
            return {"stars": form.number("stars") or 0}
        case FeedbackKind.RATING:
            return form.number("thumb") or 0
        case FeedbackKind.CORRECTION:
            facts = [line.strip() for line in form.text("key_facts").splitlines() if line.strip()]
            return {"content": form.text("content").strip(), **({"key_facts": facts} if facts else {})}
        case FeedbackKind.PREFERENCE:
            other = {"completion_id": form.text("other_completion_id"), "choice": form.number("other_choice") or 0}
            tie = form.given("tie")
            return {"tie": tie, "other": other} if tie else {"rejected": other}
        case FeedbackKind.REPORT:
            return form.text("category")
        case FeedbackKind.COMMENT:
            return form.text("comment")
        case FeedbackKind.SURVEY:
            return _answers(form)


def _answers(form: Form) -> dict[str, Any]:
    """Of the fields `csat:ID`, `text:ID` and `choice:ID`; who left one empty didn't answer it."""
    answers: dict[str, Any] = {}
    for name in form.names():
        kind, colon, question = name.partition(":")
        if colon and (answer := form.given(name)) is not None:
            answers[question] = (form.number(name) or 0) if kind == "csat" else answer
    return answers
