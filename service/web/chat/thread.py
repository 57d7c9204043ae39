"""A conversation as its page shows it: one line through all the answers, and beside each message the others to it."""

from collections.abc import Sequence
from dataclasses import dataclass

from feedback import own_conversations
from feedback.own_conversations import OwnMessage, OwnThread, Person
from feedback.states import FeedbackKind, MessageStatus
from service.engines.base import ChatMessage
from service.web.page import Page

BEGINNING = "page-"
"""Of the ids of conversations that were begun here: under one key, apps may have others."""


@dataclass(frozen=True)
class Shown:
    """A person's message, the answer that the conversation went on from, and what else was answered."""

    question: OwnMessage
    replies: list[OwnMessage]
    """One; or two to choose between, the older first."""
    others: list[OwnMessage]
    blind: bool
    """The two come in random order, and who wrote them isn't told."""

    @property
    def to_choose(self) -> bool:
        return len(self.replies) == 2

    @property
    def latest(self) -> OwnMessage | None:
        return self.replies[-1] if self.replies else None


def person_of(page: Page) -> Person:
    return Person(page.site.secret, page.caller, page.someone.user)


def load(page: Page, label: str) -> OwnThread:
    """Raises NotFound for what isn't theirs, or wasn't begun here."""
    person = person_of(page)
    with page.site.database.read() as session:
        found = own_conversations.get_own(session, person, label if label.startswith(BEGINNING) else "")
        return own_conversations.read(session, person, found)


def line(thread: OwnThread) -> list[Shown]:
    """From the first message to the newest, through the answers that were chosen or went on."""
    answers: dict[int, list[OwnMessage]] = {}
    for message in thread.messages:
        if message.completion_id is not None and message.parent is not None:
            answers.setdefault(message.parent, []).append(message)
    path = _path(thread.messages)
    on_path = {message.number for message in path}
    return [_shown(one, answers.get(one.number, []), on_path) for one in path if one.role == "user"]


def history(thread: OwnThread, last: OwnMessage) -> list[ChatMessage]:
    """What was said up to `last`, itself included, for the engine."""
    chain = [last]
    while (parent := chain[-1].parent) is not None:
        chain.append(thread.messages[parent])
    return [{"role": message.role, "content": message.content} for message in reversed(chain)]


def find(thread: OwnThread, completion_id: str, choice: int) -> OwnMessage | None:
    return next((one for one in thread.messages if one.completion_id == completion_id and one.choice == choice), None)


def _path(messages: Sequence[OwnMessage]) -> list[OwnMessage]:
    """The newest message and all that led to it."""
    if not messages:
        return []
    chain = [messages[-1]]
    while (parent := chain[-1].parent) is not None:
        chain.append(messages[parent])
    return chain[::-1]


def _shown(question: OwnMessage, answers: list[OwnMessage], on_path: set[int]) -> Shown:
    chosen = [one for one in answers if any(said.kind == FeedbackKind.PREFERENCE for said in one.feedback)]
    whole = [one for one in answers if one.status == MessageStatus.COMPLETE]
    going_on = [one for one in answers if one.number in on_path and one is not answers[-1]]
    if chosen:
        shown = chosen[-1:]
    elif going_on:
        shown = going_on
    elif len(whole) >= 2 and whole[-1] is answers[-1]:
        shown = whole[-2:]
    else:
        shown = answers[-1:]
    kept = {one.number for one in shown}
    blind = len(shown) == 2 and shown[0].completion_id == shown[1].completion_id
    return Shown(question, shown, [one for one in answers if one.number not in kept], blind)
