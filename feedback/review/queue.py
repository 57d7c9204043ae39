"""The review queue: what reviewers may look at, chosen and put in order. Leaves out who holds what (claims.py)."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, and_, case, exists, func, or_
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from feedback.columns import now
from feedback.errors import InvalidInput, NotFound
from feedback.models import Assistant, Feedback, ReportCase, Review
from feedback.review import cells, conditions
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


_STATUSES = {
    Show.WAITING: (FeedbackStatus.IN_REVIEW,),
    Show.SECOND_OPINION: (FeedbackStatus.IN_REVIEW,),
    Show.UNREVIEWED: tuple(status for status in FeedbackStatus if status != FeedbackStatus.REPLACED),
    Show.ALL: tuple(FeedbackStatus),
}
"""What may be shown is in one of these."""
MOST_COUNTED = 200


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

    @property
    def shows(self) -> Show:
        return self.show or (Show.ALL if self.status else Show.WAITING)


def get_feedback(session: Session, public_id: str, assistant_ids: frozenset[int] | None = None) -> Feedback:
    feedback = session.exec(select(Feedback).where(Feedback.public_id == public_id)).first()
    if feedback is None or (assistant_ids is not None and feedback.assistant_id not in assistant_ids):
        raise NotFound(f"No feedback '{public_id}': `burnish feedback list ASSISTANT` shows what there is.", param="id")
    return feedback


def chosen(
    session: Session, assistant: Assistant, wanted: Wanted, *more: ColumnElement[bool], actor: str, most: int
) -> SelectOfScalar[Feedback]:
    """The first `most` entries that a reviewer asks for, and of which `more` holds, in order.

    Raises InvalidInput if `after` is nothing of the assistant's.
    """
    if wanted.show == Show.MINE:
        return held(session, assistant, wanted, *more, actor=actor).limit(most)
    shown = [*_shown(wanted.shows, actor), *more]
    narrowed = _narrowed(session, assistant, wanted)
    if wanted.contributor is None and (wanted.order == Order.VALUE or wanted.kind or wanted.status):
        kinds = [wanted.kind] if wanted.kind else VALUE_OF_KIND
        statuses = [wanted.status] if wanted.status else _STATUSES[wanted.shows]
        first = cells.first_of_each(assistant.id, kinds, statuses, [*shown, *narrowed], most=most)
        # what may have changed until the row is locked is asked again; what can't would lead past the cells' index
        found = select(Feedback).where(col(Feedback.id).in_(first), *shown)
    else:
        found = select(Feedback).where(Feedback.assistant_id == assistant.id, *shown, *narrowed)
    return _in_order(found, wanted).limit(most)


def held(
    session: Session, assistant: Assistant, wanted: Wanted, *more: ColumnElement[bool], actor: str
) -> SelectOfScalar[Feedback]:
    """Of the entries that a reviewer asks for, those that they hold now, in order."""
    theirs = select(Feedback.id).where(
        Feedback.assistant_id == assistant.id, Feedback.claimed_by == actor, col(Feedback.claimed_until) > now()
    )
    found = select(Feedback).where(col(Feedback.id).in_(theirs), *_shown(wanted.shows, actor), *more)
    return _in_order(found.where(*_narrowed(session, assistant, wanted)), wanted)


def count_all(session: Session, assistant: Assistant, *, actor: str) -> dict[str, int]:
    """How many wait, were never reviewed, and are held by the reviewer; `MOST_COUNTED` at most of each."""
    counts = {}
    for show in (Show.WAITING, Show.UNREVIEWED, Show.MINE):
        some = chosen(session, assistant, Wanted(show), actor=actor, most=MOST_COUNTED)
        ids = some.with_only_columns(col(Feedback.id)).order_by(None).subquery()
        counts[show.value] = session.exec(select(func.count()).select_from(ids)).one()
    return counts


def is_free(at: datetime) -> ColumnElement[bool]:
    return or_(col(Feedback.claimed_until).is_(None), col(Feedback.claimed_until) <= at)


def _in_order(found: SelectOfScalar[Feedback], wanted: Wanted) -> SelectOfScalar[Feedback]:
    if wanted.order == Order.VALUE:
        found = found.order_by(_rank())
    return found.order_by(col(Feedback.id))


def _narrowed(session: Session, assistant: Assistant, wanted: Wanted) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.after is not None:
        found.append(_beyond(last_seen(session, assistant, wanted.after), wanted.order == Order.VALUE))
    if wanted.status is not None:
        found.append(col(Feedback.status) == wanted.status)
    if wanted.kind is not None:
        found.append(col(Feedback.kind) == wanted.kind)
    if wanted.tag is not None:
        found.append(conditions.has_tag(wanted.tag))
    if wanted.category is not None:
        found.append(conditions.reports(wanted.category))
    if wanted.contributor is not None:
        found.append(col(Feedback.contributor_id) == wanted.contributor)
    if wanted.search is not None:
        found.append(conditions.says(wanted.search))
    return found


def _shown(show: Show, actor: str) -> list[ColumnElement[bool]]:
    reviewed = exists().where(col(Review.feedback_id) == col(Feedback.id))
    by_me = reviewed.where(col(Review.actor) == actor)
    in_review = col(Feedback.status) == FeedbackStatus.IN_REVIEW
    match show:
        case Show.WAITING:
            elsewhere = and_(col(ReportCase.status) == CaseStatus.INVESTIGATING, col(ReportCase.assignee) != actor)
            return [in_review, ~by_me, ~and_(col(Feedback.kind) == FeedbackKind.REPORT, conditions.has_case(elsewhere))]
        case Show.UNREVIEWED:
            return [~reviewed, col(Feedback.status) != FeedbackStatus.REPLACED]
        case Show.SECOND_OPINION:
            return [in_review, col(Feedback.wants_second_opinion).is_(True), reviewed, ~by_me]
        case Show.ALL | Show.MINE:
            return []


def last_seen(session: Session, assistant: Assistant, public_id: str) -> Feedback:
    """What a page goes on after. Raises InvalidInput."""
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
