"""What is stored, read back as records: for the export, and to tell whether a record is here already."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlmodel import Session, col, select

from feedback.collect.preferences import other_message_id
from feedback.contributors import is_heard
from feedback.conversations import histories
from feedback.curate.consent import both
from feedback.database import Database, in_portions
from feedback.interchange.ours import KINDS
from feedback.interchange.records import Record
from feedback.models import Assistant, Feedback, Message
from feedback.review import latest_reviews
from feedback.states import FeedbackKind, FeedbackStatus, MessageStatus, ReviewDecision

HASHED = "hmac:"
"""Before a contributor who is known only by a keyed hash."""
_PAGE = 500
_NOW_SAID = (FeedbackStatus.RECEIVED, FeedbackStatus.DECLINED)


def current_records(database: Database, assistant: Assistant, *, as_mended: bool = False) -> Iterator[Record]:
    """Everybody's latest words on the assistant's replies, oldest first, in bounded memory.

    `as_mended` gives corrections in the words of reviewers who mended them: what is learned, and not what was said.
    Leaves out what a reviewer turned down, what contributors said who are held back, and reports. What
    comes in meanwhile may or may not be there.
    """
    after, found = 0, True
    while found:
        with database.read() as session:
            page = session.exec(
                select(Feedback)
                .where(
                    Feedback.assistant_id == assistant.id,
                    Feedback.id > after,
                    col(Feedback.kind).in_(KINDS),
                    col(Feedback.status).in_(_NOW_SAID),
                    is_heard(),
                )
                .order_by(col(Feedback.id))
                .limit(_PAGE)
            ).all()
            reviewed = latest_reviews(session, [feedback.id for feedback in page])
            decisions = {one: decision for one, (decision, _) in reviewed.items()}
            kept = [one for one in page if decisions.get(one.id) != ReviewDecision.REJECTED]
            made = as_records(session, kept)
            if as_mended:
                mended = (reviewed.get(one.id, (None, None))[1] for one in kept)
                made = [replace(one, value=words or one.value) for one, words in zip(made, mended, strict=True)]
        yield from made
        found = bool(page)
        after = page[-1].id if page else after


def as_records(session: Session, said: Sequence[Feedback]) -> list[Record]:
    shown = {feedback.message_id for feedback in said}
    shown |= {other_message_id(feedback.value) for feedback in said if feedback.kind == FeedbackKind.PREFERENCE}
    replies = {
        message.id: message
        for some in in_portions(shown)
        for message in session.exec(select(Message).where(col(Message.id).in_(some)))
    }
    asked = histories(session, (replies[feedback.message_id] for feedback in said))
    return [_as_record(feedback, replies, asked[feedback.message_id]) for feedback in said]


def _as_record(feedback: Feedback, replies: dict[int, Message], asked: list[dict[str, str]]) -> Record:
    reply = replies[feedback.message_id]
    other = replies[other_message_id(feedback.value)] if feedback.kind == FeedbackKind.PREFERENCE else None
    value: Any = feedback.value
    match feedback.kind:
        case FeedbackKind.PREFERENCE:
            assert other is not None
            tie = feedback.value.get("tie")
            value = {"tie": tie, "other": other.content} if tie else {"rejected": other.content}
        case FeedbackKind.RATING:
            value = feedback.value.get("thumb") or feedback.value
        case FeedbackKind.COMMENT:
            words = feedback.value["text"]
            value = None if feedback.comment and feedback.comment.strip() == words else words
    return Record(
        line=0,
        messages=tuple((turn["role"], turn["content"]) for turn in asked),
        reply=reply.content,
        kind=feedback.kind,
        value=value,
        contributor=f"{HASHED}{feedback.contributor_id}" if feedback.contributor_id else None,
        comment=feedback.comment,
        tags=tuple(feedback.tags),
        created_at=feedback.created_at,
        id=feedback.public_id,
        store=both(reply.store, other.store) if other else reply.store,
        training=feedback.training,
        cut_off=any(shown.status != MessageStatus.COMPLETE for shown in (reply, other) if shown),
    )
