"""What a reviewer sees of an entry: what was said, about what, why it is here, by which guidelines to judge it.

Who is asked for a second opinion sees no one else's before giving it.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel
from sqlmodel import Session, col, select

from feedback import assistants, guidelines
from feedback.collect.preferences import other_message_id
from feedback.conversations import ChatMessage, histories, history
from feedback.database import in_portions
from feedback.models import Assistant, Feedback, Guidelines, Message, ReportCase, Review
from feedback.review.decisions import standing_of
from feedback.review.opinions import State
from feedback.sentences import Sentence, Told
from feedback.states import CaseStatus, FeedbackKind, FeedbackStatus, ReviewDecision

Row = TypeVar("Row", Message, Review, ReportCase, Guidelines)


class GuidelinesShown(BaseModel):
    version: int
    text: str


class ReviewShown(BaseModel):
    by: str
    decision: ReviewDecision
    edited: dict[str, Any] | None
    note: str | None
    comment: str | None
    final: bool
    counts: bool
    created_at: datetime


class CaseShown(BaseModel):
    id: str
    category: str
    status: CaseStatus


class Entry(BaseModel):
    id: str
    kind: FeedbackKind
    value: dict[str, Any]
    comment: str | None
    tags: list[str]
    contributor: str | None
    source: str | None
    created_at: datetime
    status: FeedbackStatus
    state: State
    why: Sentence
    completion_id: str | None
    choice: int
    conversation: list[ChatMessage]
    reply: str
    other_reply: str | None
    """Of a preference: the one that was rejected or, with a tie, found as good or bad."""
    guidelines: GuidelinesShown
    """The current ones: they say what is right now."""
    guidelines_then: int | None
    """The version that the reply was written under."""
    case: CaseShown | None
    reviews: list[ReviewShown]
    reviews_hidden: bool
    claimed_by: str | None
    claimed_until: datetime | None


def entries(session: Session, assistant: Assistant, found: Sequence[Feedback], *, actor: str) -> list[Entry]:
    """As `actor` may see them."""
    shown = {feedback.message_id for feedback in found}
    others = {one.id: other_message_id(one.value) for one in found if one.kind == FeedbackKind.PREFERENCE}
    shown |= set(others.values())
    messages = {message.id: message for message in _by(session, Message, "id", shown)}
    asked = histories(session, (messages[feedback.message_id] for feedback in found))
    reviews = defaultdict(list)
    for review in _by(session, Review, "feedback_id", {feedback.id for feedback in found}):
        reviews[review.feedback_id].append(review)
    reported = {feedback.message_id for feedback in found if feedback.kind == FeedbackKind.REPORT}
    cases = {case.message_id: case for case in _by(session, ReportCase, "message_id", reported)}
    current = assistants.current_guidelines(session, assistant)
    judged_by = GuidelinesShown(version=current.version, text=guidelines.system_prompt_of(current))
    then = {
        one.id: one.version
        for one in _by(session, Guidelines, "id", {message.guidelines_id for message in messages.values()} - {None})
    }
    made = []
    for feedback in found:
        said, reply = reviews[feedback.id], messages[feedback.message_id]
        stands = standing_of(feedback, said)
        hidden = _is_hidden(stands.state, said, actor)
        other = messages[others[feedback.id]] if feedback.id in others else None
        case = cases.get(feedback.message_id) if feedback.kind == FeedbackKind.REPORT else None
        made.append(
            Entry(
                id=feedback.public_id,
                kind=feedback.kind,
                value=value_shown(feedback.value),
                comment=feedback.comment,
                tags=feedback.tags,
                contributor=feedback.contributor_id,
                source=feedback.source,
                created_at=feedback.created_at,
                status=feedback.status,
                state=stands.state,
                why=_why(feedback, stands.state, case),
                completion_id=reply.completion_id,
                choice=reply.choice_index,
                conversation=asked[reply.id],
                reply=reply.content,
                other_reply=other.content if other else None,
                guidelines=judged_by,
                guidelines_then=then.get(reply.guidelines_id or -1),
                case=CaseShown(id=case.public_id, category=case.category, status=case.status) if case else None,
                reviews=[] if hidden else [_review(one) for one in said],
                reviews_hidden=hidden,
                claimed_by=feedback.claimed_by,
                claimed_until=feedback.claimed_until,
            )
        )
    return made


def entry(session: Session, feedback: Feedback, *, actor: str) -> Entry:
    return entries(session, session.get_one(Assistant, feedback.assistant_id), [feedback], actor=actor)[0]


def value_shown(value: dict[str, Any]) -> dict[str, Any]:
    """Without the rows' own numbers.

    >>> value_shown({"tie": "bad", "other_message_id": 8})
    {'tie': 'bad'}
    """
    return {name: one for name, one in value.items() if not name.endswith("_message_id")}


def with_conversation(session: Session, feedback: Feedback, *, actor: str) -> dict[str, object]:
    """A piece of feedback beside what it is about, in short, as `actor` may see it."""
    reply = session.get_one(Message, feedback.message_id)
    said = _by(session, Review, "feedback_id", {feedback.id})
    hidden = _is_hidden(standing_of(feedback, said).state, said, actor)
    return {
        "id": feedback.public_id,
        "kind": feedback.kind.value,
        "value": feedback.value,
        "comment": feedback.comment,
        "tags": feedback.tags,
        "status": feedback.status.value,
        "status_reason": feedback.status_reason,
        "source": feedback.source,
        "reviews": [] if hidden else [_told(one) for one in said],
        "conversation": [f"{turn['role']}: {turn['content']}" for turn in history(session, reply)],
        "reply": reply.content,
    }


def _is_hidden(state: State, said: Sequence[Review], actor: str) -> bool:
    """Whoever is to give a second opinion sees nothing of the first."""
    return state == State.AWAITING_SECOND and all(one.actor != actor for one in said)


def _told(one: Review) -> str:
    words = f": {one.edited['content']}" if one.edited else ""
    return f"{one.decision.value} by {one.actor}{'' if one.counts else ' (counts no more, or not yet)'}{words}"


def _by(session: Session, table: type[Row], column: str, values: set[Any]) -> list[Row]:
    """The rows of `table` with one of `values` in `column`, in the order they came in."""
    wanted = getattr(table, column)
    return [
        row
        for some in in_portions(values)
        for row in session.exec(select(table).where(wanted.in_(some)).order_by(col(table.id)))
    ]


def _why(feedback: Feedback, state: State, case: ReportCase | None) -> str:
    if feedback.status != FeedbackStatus.IN_REVIEW:
        return feedback.status_reason or ("Nobody has looked at it." if state == State.UNREVIEWED else "It is settled.")
    if case is not None and state == State.UNREVIEWED:
        category = feedback.value["category"]
        return Told("Somebody reported the reply: {category}.", category=Told(category))
    return feedback.status_reason or "A person looks at it first."


def _review(one: Review) -> ReviewShown:
    fields = {name: getattr(one, name) for name in ReviewShown.model_fields if name != "by"}
    return ReviewShown(by=one.actor, **fields)
