"""The review queue: what reviewers may look at, chosen and put in order. Leaves out who holds what (claims.py)."""

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, String, and_, case, cast, exists, or_
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from feedback.columns import now
from feedback.errors import InvalidInput, NotFound
from feedback.models import Assistant, Feedback, Message, ReportCase, Review
from feedback.states import CaseStatus, FeedbackKind, FeedbackStatus

VALUE_OF_KIND = (
    FeedbackKind.CORRECTION,
    FeedbackKind.PREFERENCE,
    FeedbackKind.REPORT,
    FeedbackKind.RATING,
    FeedbackKind.COMMENT,
    FeedbackKind.SURVEY,
)
"""The most telling first: what a reviewer's minute is best spent on."""


class Show(StrEnum):
    WAITING = "waiting"  # a person must decide, and you haven't yet
    UNREVIEWED = "unreviewed"  # nobody has decided on it, whether or not somebody must
    MINE = "mine"  # you hold it now
    SECOND_OPINION = "second_opinion"  # somebody has decided, and you are asked what you think
    ALL = "all"


class Order(StrEnum):
    OLDEST = "oldest"
    VALUE = "value"  # by VALUE_OF_KIND, and the oldest of a kind first


@dataclass(frozen=True)
class Wanted:
    """What a reviewer asks the queue for; every field narrows it."""

    show: Show | None = None
    """None: what waits, or all of a `status` that is asked for."""
    status: FeedbackStatus | None = None
    kind: FeedbackKind | None = None
    tag: str | None = None
    category: str | None = None
    """Of a report's case."""
    contributor: str | None = None
    search: str | None = None
    """Words in what was said, in the reply or in what was asked; case is ignored in ASCII."""
    order: Order = Order.OLDEST
    after: str | None = None
    """The last entry of the page before, or the one to go on from."""


def get_feedback(session: Session, public_id: str, assistant_ids: frozenset[int] | None = None) -> Feedback:
    feedback = session.exec(select(Feedback).where(Feedback.public_id == public_id)).first()
    if feedback is None or (assistant_ids is not None and feedback.assistant_id not in assistant_ids):
        raise NotFound(f"No feedback '{public_id}': `burnish feedback list ASSISTANT` shows what there is.", param="id")
    return feedback


def list_feedback(
    session: Session, assistant: Assistant, *, status: FeedbackStatus | None = None, limit: int = 50
) -> list[Feedback]:
    """All that was said, newest first."""
    found = select(Feedback).where(Feedback.assistant_id == assistant.id)
    if status is not None:
        found = found.where(Feedback.status == status)
    return list(session.exec(found.order_by(col(Feedback.id).desc()).limit(limit)))


def chosen(session: Session, assistant: Assistant, wanted: Wanted, *, actor: str) -> SelectOfScalar[Feedback]:
    """The entries that a reviewer asks for, in order. Raises InvalidInput if `after` is nothing of the assistant's."""
    found = select(Feedback).where(Feedback.assistant_id == assistant.id, *_conditions(wanted, actor))
    by_value = wanted.order == Order.VALUE
    if wanted.after is not None:
        found = found.where(_beyond(_last_seen(session, assistant, wanted.after), by_value))
    return found.order_by(*([_rank()] if by_value else []), col(Feedback.id))


def is_held_by(actor: str) -> ColumnElement[bool]:
    return and_(col(Feedback.claimed_by) == actor, col(Feedback.claimed_until) > now())


def is_free(at: datetime) -> ColumnElement[bool]:
    return or_(col(Feedback.claimed_until).is_(None), col(Feedback.claimed_until) <= at)


def _conditions(wanted: Wanted, actor: str) -> list[ColumnElement[bool]]:
    conditions = [*_shown(wanted.show or (Show.ALL if wanted.status else Show.WAITING), actor)]
    if wanted.status is not None:
        conditions.append(col(Feedback.status) == wanted.status)
    if wanted.kind is not None:
        conditions.append(col(Feedback.kind) == wanted.kind)
    if wanted.tag is not None:
        conditions.append(cast(Feedback.tags, String).icontains(json.dumps(wanted.tag), autoescape=True))
    if wanted.category is not None:
        conditions.append(col(Feedback.kind) == FeedbackKind.REPORT)
        named = col(Feedback.value)["category"].as_string() == wanted.category
        conditions.append(or_(named, _has_case(col(ReportCase.category) == wanted.category)))
    if wanted.contributor is not None:
        conditions.append(col(Feedback.contributor_id) == wanted.contributor)
    if wanted.search is not None:
        conditions.append(_says(wanted.search))
    return conditions


def _shown(show: Show, actor: str) -> list[ColumnElement[bool]]:
    reviewed = exists().where(col(Review.feedback_id) == col(Feedback.id))
    by_me = reviewed.where(col(Review.actor) == actor)
    in_review = col(Feedback.status) == FeedbackStatus.IN_REVIEW
    match show:
        case Show.WAITING:
            elsewhere = and_(col(ReportCase.status) == CaseStatus.INVESTIGATING, col(ReportCase.assignee) != actor)
            return [in_review, ~by_me, ~and_(col(Feedback.kind) == FeedbackKind.REPORT, _has_case(elsewhere))]
        case Show.UNREVIEWED:
            return [~reviewed, col(Feedback.status) != FeedbackStatus.REPLACED]
        case Show.MINE:
            return [is_held_by(actor)]
        case Show.SECOND_OPINION:
            return [in_review, col(Feedback.wants_second_opinion).is_(True), reviewed, ~by_me]
        case Show.ALL:
            return []


def _has_case(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(col(ReportCase.message_id) == col(Feedback.message_id), condition)


def _says(words: str) -> ColumnElement[bool]:
    reply, asked = aliased(Message), aliased(Message)
    places = [
        col(Feedback.comment),
        *(col(Feedback.value)[name].as_string() for name in ("content", "text")),
    ]
    exchange = (
        select(reply.id)
        .outerjoin(asked, col(asked.id) == col(reply.parent_id))
        .where(
            col(reply.id) == col(Feedback.message_id),
            or_(*(col(text).icontains(words, autoescape=True) for text in (reply.content, asked.content))),
        )
    )
    return or_(*(place.icontains(words, autoescape=True) for place in places), exchange.exists())


def _last_seen(session: Session, assistant: Assistant, public_id: str) -> Feedback:
    found = session.exec(
        select(Feedback).where(Feedback.public_id == public_id, Feedback.assistant_id == assistant.id)
    ).first()
    if found is None:
        raise InvalidInput(f"`after` is no feedback on '{assistant.name}': give the page's `last_id`.", param="after")
    return found


def _beyond(last: Feedback, by_value: bool) -> ColumnElement[bool]:
    later = col(Feedback.id) > last.id
    if not by_value:
        return later
    rank = VALUE_OF_KIND.index(last.kind)
    return or_(_rank() > rank, and_(_rank() == rank, later))


def _rank() -> ColumnElement[int]:
    return case({kind: rank for rank, kind in enumerate(VALUE_OF_KIND)}, value=col(Feedback.kind))
