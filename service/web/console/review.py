"""`/console/a/NAME/review`: one entry after the other, each for one reviewer; and how far reviewers agree.

A decision and the next entry are one call, as `POST /v1/assistants/NAME/review/next` makes it. Whoever comes too late
is told so and goes on.
"""

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from litestar import get, post
from sqlmodel import Session

from feedback.database import Database
from feedback.errors import Conflict, Forbidden, InvalidInput, NotFound
from feedback.models import Assistant, Feedback
from feedback.review import agreement, claims, entries, queue, turns
from feedback.review.entries import Entry
from feedback.review.queue import Order, Show, Wanted
from feedback.states import FeedbackKind, FeedbackStatus, ReviewDecision
from service.auth import visible
from service.web.console.asked import one_of
from service.web.page import AnyResponse, Form, Page, signed_in
from service.web.word_diff import word_diff

SHOWS = {
    "": "What waits for you",
    Show.SECOND_OPINION.value: "Second opinions",
    Show.UNREVIEWED.value: "Never reviewed",
    Show.MINE.value: "What you hold",
}
ORDERS = {"": "Oldest first", Order.VALUE.value: "Most telling first"}
DONE = {
    ReviewDecision.APPROVED: "Approved.",
    ReviewDecision.EDITED: "Saved in your words.",
    ReviewDecision.REJECTED: "Rejected.",
}
LONGEST_TEXT = 2000
"""Characters of a note or a comment."""
NOT_SETTLED = "Kept. Somebody else must decide on it too."


@dataclass(frozen=True)
class Typed:
    """What the form holds: of a new one, what the giver said."""

    content: str = ""
    key_facts: str = ""
    note: str = ""
    comment: str = ""
    second_opinion: bool = False
    final: bool = False
    wrong: str = ""
    """What was wrong with it, in words."""

    @property
    def facts(self) -> list[str]:
        return [line.strip() for line in self.key_facts.splitlines() if line.strip()]


@get("/console/a/{name:str}/review", guards=[signed_in("review")], sync_to_thread=True)
def show_review(name: str, page: Page, database: Database) -> AnyResponse:
    """The entry that `id` names, else the reviewer's present one, else the next: looking at it takes it."""
    wanted, asked = _wanted(page), page.asked("id")
    try:
        with database.write() as session:
            assistant = visible(session, page.caller, name)
            taken: Feedback | None
            if asked:
                taken = claims.claim(session, _own(session, assistant, asked), actor=page.caller.actor)
            else:
                taken = claims.claim_next(session, assistant, wanted, actor=page.caller.actor)
            shown = _shown(session, page, assistant, wanted, taken)
    except Conflict as conflict:
        return page.go(f"/console/feedback/{asked}", conflict.message)
    except InvalidInput:
        if wanted.after is None:
            raise
        return page.go(_address(name, replace(wanted, after=None)))  # what it goes on after was taken back
    return page.render("console/review.html", **shown)


@post("/console/a/{name:str}/review", guards=[signed_in("review")], status_code=200, sync_to_thread=True)
def decide(name: str, page: Page, form: Form, database: Database) -> AnyResponse:
    wanted, feedback_id, deed = _wanted(page), form.text("id"), form.text("deed")
    try:
        with database.write() as session:
            assistant = visible(session, page.caller, name)
            if deed == "skip":
                turn = turns.take(session, page.caller, assistant, wanted, skip=feedback_id)
                return page.go(_address(name, turn.wanted), "Skipped.")
            said = _said(_own(session, assistant, feedback_id), deed, form)
            turn = turns.take(session, page.caller, assistant, wanted, said=said)
        settled = turn.decided is not None and turn.decided.status != FeedbackStatus.IN_REVIEW
        return page.go(_address(name, wanted), DONE[said.decision] if settled else NOT_SETTLED)
    except (Conflict, Forbidden) as error:  # somebody was quicker
        return page.go(_address(name, replace(wanted, after=feedback_id)), error.message)
    except NotFound as error:
        if error.param != "id":
            raise
        return page.go(_address(name, replace(wanted, after=None)), "It was taken back meanwhile.")
    except InvalidInput as error:
        with database.write() as session:
            assistant = visible(session, page.caller, name)
            held = claims.claim(session, _own(session, assistant, feedback_id), actor=page.caller.actor)
            shown = _shown(session, page, assistant, wanted, held, typed=_typed(form, error.message))
        return page.render("console/review.html", status=400, **shown)


@get("/console/a/{name:str}/review/agreement", guards=[signed_in("review")], sync_to_thread=True)
def show_agreement(name: str, page: Page, database: Database) -> AnyResponse:
    with database.read() as session:
        overall, pairs = agreement.agreement(session, visible(session, page.caller, name))
    return page.render("console/agreement.html", assistant=name, overall=overall, pairs=pairs)


def _shown(
    session: Session,
    page: Page,
    assistant: Assistant,
    wanted: Wanted,
    taken: Feedback | None,
    *,
    typed: Typed | None = None,
) -> dict[str, Any]:
    entry = entries.entry(session, taken, actor=page.caller.actor) if taken else None
    return {
        "assistant": assistant.name,
        "wanted": wanted,
        "entry": entry,
        "typed": typed or _as_given(entry),
        "diff": word_diff(entry.reply, entry.value["content"]) if entry and "content" in entry.value else None,
        "counts": queue.count_all(session, assistant, actor=page.caller.actor),
        "most_counted": queue.MOST_COUNTED,
        "address": _address(assistant.name, wanted),
        "shows": SHOWS,
        "kinds": list(FeedbackKind),
        "orders": ORDERS,
        "longest": LONGEST_TEXT,
    }


def _said(feedback: Feedback, deed: str, form: Form) -> turns.Said:
    """Raises InvalidInput."""
    if deed not in list(ReviewDecision):
        raise InvalidInput("Approve it, save your words, reject it or skip it.", param="deed")
    decision, typed = ReviewDecision(deed), _typed(form)
    edited = None
    if decision == ReviewDecision.EDITED:
        edited = {"content": typed.content, "key_facts": typed.facts}
    elif decision == ReviewDecision.APPROVED and "content" in feedback.value:
        given = (feedback.value["content"].strip(), feedback.value.get("key_facts", []))
        if (typed.content.strip(), typed.facts) != given:
            raise InvalidInput("You changed the words: save yours, or put the giver’s back and approve them.")
    if max(len(typed.note), len(typed.comment)) > LONGEST_TEXT:
        raise InvalidInput(f"A note has {LONGEST_TEXT} characters at most.", param="note")
    return turns.Said(
        id=feedback.public_id,
        decision=decision,
        note=form.given("note"),
        comment=form.given("comment"),
        edited=edited,
        second_opinion=typed.second_opinion,
        final=typed.final,
    )


def _typed(form: Form, wrong: str = "") -> Typed:
    texts = {name: form.text(name) for name in ("content", "key_facts", "note", "comment")}
    return Typed(**texts, second_opinion=form.ticked("second_opinion"), final=form.ticked("final"), wrong=wrong)


def _as_given(entry: Entry | None) -> Typed:
    if entry is None or "content" not in entry.value:
        return Typed()
    return Typed(content=entry.value["content"], key_facts="\n".join(entry.value.get("key_facts", [])))


def _own(session: Session, assistant: Assistant, feedback_id: str) -> Feedback:
    return queue.get_feedback(session, feedback_id, frozenset({assistant.id}))


def _wanted(page: Page) -> Wanted:
    show = one_of(Show, page, "show")
    order = one_of(Order, page, "order") or Order.OLDEST
    return Wanted(show=show, kind=one_of(FeedbackKind, page, "kind"), order=order, after=page.asked("after"))


def _address(name: str, wanted: Wanted) -> str:
    order = wanted.order if wanted.order != Order.OLDEST else None
    asked = {"show": wanted.show, "kind": wanted.kind, "order": order, "after": wanted.after}
    query = urlencode({key: value for key, value in asked.items() if value})
    return f"/console/a/{name}/review" + (f"?{query}" if query else "")
