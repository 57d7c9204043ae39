"""What is to be erased, by any name that people know it under. Leaves out what goes along with it (marks.py)."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlmodel import Session, col, select

from feedback.collect.intake import hash_receipt
from feedback.contributors import contributor_id
from feedback.conversations import get_reply
from feedback.database import in_portions
from feedback.errors import InvalidInput, NotFound
from feedback.models import ApiKey, Assistant, Contributor, Conversation, Feedback, Message
from feedback.review import get_feedback
from feedback.states import ErasureKind, FeedbackKind, FeedbackStatus

OWN_LABEL = "conv-"
"""Before a conversation's number, where its client gave it no id."""


@dataclass(frozen=True)
class Subject:
    kind: ErasureKind
    name: str
    """Only its hash is kept."""
    contributors: Sequence[str] = ()
    conversations: Sequence[int] = ()
    feedback: Sequence[int] = ()
    datasets: Sequence[int] = ()
    """Whole datasets, which no feedback was made into."""

    @property
    def sha256(self) -> str:
        return subject_sha256(self.kind, self.name)


def subject_sha256(kind: ErasureKind, name: str) -> str:
    return hashlib.sha256(f"{kind}:{name}".encode()).hexdigest()


@dataclass(frozen=True)
class Named:
    """What somebody asks to have erased: one of these, `key` only beside `user`."""

    user: str | None = None
    key: str | None = None
    contributor: str | None = None
    conversation: str | None = None
    completion: str | None = None
    feedback: str | None = None


def resolve(session: Session, secret: bytes, assistant: Assistant, named: Named) -> Subject:
    """Raises InvalidInput unless exactly one thing is named, NotFound where nothing of it is here."""
    match [
        getattr(named, name) is not None for name in ("user", "contributor", "conversation", "completion", "feedback")
    ]:
        case [True, False, False, False, False]:
            return of_user(session, secret, assistant, named.user or "", named.key)
        case [False, True, False, False, False] if named.key is None:
            return of_contributor(session, assistant, named.contributor or "")
        case [False, False, True, False, False] if named.key is None:
            return of_conversation(session, assistant, named.conversation or "")
        case [False, False, False, True, False] if named.key is None:
            return of_completion(session, assistant, named.completion or "")
        case [False, False, False, False, True] if named.key is None:
            return of_feedback(session, assistant, named.feedback or "")
    raise InvalidInput(
        "Say what to erase: one of user (key may go with it), contributor, conversation, completion and feedback."
    )


def of_user(session: Session, secret: bytes, assistant: Assistant, user: str, key: str | None) -> Subject:
    """A person by the name that an app calls them, under one key or under all. Raises InvalidInput for no name."""
    if not user:
        raise InvalidInput(
            "`user` is empty, which is nobody's name: give the one that the app sends. What was said without a name "
            "goes by its conversation, completion or feedback.",
            param="user",
        )
    keys = session.exec(select(ApiKey.id) if key is None else select(ApiKey.id).where(ApiKey.name == key)).all()
    found = _here(session, assistant, [contributor_id(secret, assistant.id, one, user) for one in keys])
    if not found:
        raise NotFound(
            # no word on whether there is such a key: not everybody who may erase sees all of them
            f"Nothing of such a user is here{f' under a key called {key!r}' if key is not None else ''}: give the "
            f"`user` that the app sends, and '{assistant.name}' must be the assistant they talked to.",
            param="user",
        )
    return _people(found)


def of_contributor(session: Session, assistant: Assistant, contributor: str) -> Subject:
    found = _here(session, assistant, [contributor])
    if not found:
        raise NotFound(f"Nothing of a contributor '{contributor}' is here.", param="contributor")
    return _people(found)


def of_conversation(session: Session, assistant: Assistant, label: str) -> Subject:
    """By the id that its client gave it (under every key that did), else as `conv-<number>`."""
    mine = select(Conversation.id).where(Conversation.assistant_id == assistant.id)
    found = session.exec(mine.where(Conversation.external_id == label)).all()
    number = label.removeprefix(OWN_LABEL)
    if label.startswith(OWN_LABEL) and number.isascii() and number.isdigit() and len(number) < 19:
        ours = session.exec(mine.where(Conversation.id == int(number), col(Conversation.external_id).is_(None))).all()
        if found and ours:
            raise InvalidInput(
                f"A client calls a conversation of its own '{label}', which is another one's number here: name the one "
                "you mean by one of its completions.",
                param="conversation",
            )
        found = found or ours
    if not found:
        raise NotFound(
            f"'{assistant.name}' has no conversation '{label}': give the client's own id, or the one that "
            "`burnish lineage COMPLETION_ID` shows.",
            param="conversation",
        )
    return Subject(ErasureKind.CONVERSATION, _numbers(found), conversations=found)


def of_completion(session: Session, assistant: Assistant, completion_id: str) -> Subject:
    """The whole conversation that a reply belongs to: what follows it quotes it."""
    _, conversation = get_reply(session, frozenset({assistant.id}), completion_id, 0)
    return Subject(ErasureKind.CONVERSATION, _numbers([conversation.id]), conversations=[conversation.id])


def of_feedback(session: Session, assistant: Assistant, public_id: str) -> Subject:
    feedback = get_feedback(session, public_id, frozenset({assistant.id}))
    return Subject(ErasureKind.FEEDBACK, feedback.receipt_sha256, feedback=_with_replaced(session, feedback))


def of_receipt(session: Session, receipt: str) -> tuple[Assistant, Subject]:
    """What the holder of a receipt may take back."""
    feedback = session.exec(select(Feedback).where(Feedback.receipt_sha256 == hash_receipt(receipt))).first()
    if feedback is None:
        raise NotFound("No feedback with this receipt.", param="receipt", code="receipt_not_found")
    assistant = session.get_one(Assistant, feedback.assistant_id)
    return assistant, of_feedback(session, assistant, feedback.public_id)


def _with_replaced(session: Session, feedback: Feedback) -> list[int]:
    """With the words that it replaced: who takes something back means its earlier wordings too."""
    if feedback.contributor_id is None:
        return [feedback.id]
    reply = session.get_one(Message, feedback.message_id)
    match feedback.kind:  # as the kinds say what a giver has one current word on
        case FeedbackKind.SURVEY:
            about = col(Message.conversation_id) == reply.conversation_id
        case FeedbackKind.PREFERENCE:
            about = col(Message.parent_id) == reply.parent_id
        case _:
            about = col(Message.id) == reply.id
    replaced = session.exec(
        select(Feedback.id).where(
            Feedback.contributor_id == feedback.contributor_id,
            Feedback.kind == feedback.kind,
            Feedback.status == FeedbackStatus.REPLACED,
            col(Feedback.message_id).in_(select(Message.id).where(about)),
        )
    )
    return sorted({feedback.id, *replaced})


def _people(contributors: Iterable[str]) -> Subject:
    listed = sorted(contributors)
    return Subject(ErasureKind.CONTRIBUTOR, " ".join(listed), contributors=listed)


def _here(session: Session, assistant: Assistant, contributors: Sequence[str]) -> set[str]:
    """Those of whom there is anything: who never gave feedback may have chatted all the same."""
    found: set[str] = set()
    for some in in_portions(contributors):
        gave = select(Contributor.id).where(Contributor.assistant_id == assistant.id, col(Contributor.id).in_(some))
        chatted = select(Conversation.contributor_id).where(
            Conversation.assistant_id == assistant.id, col(Conversation.contributor_id).in_(some)
        )
        found |= {*session.exec(gave), *(one for one in session.exec(chatted.distinct()) if one is not None)}
    return found


def _numbers(ids: Iterable[int]) -> str:
    return " ".join(map(str, sorted(ids)))
