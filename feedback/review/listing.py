"""All that was said to an assistant, newest first: a page at a time, narrowed, and never a look at everything.

Kind, state and contributor are found by an index. What no index knows is looked for among the newest only, and whoever
asks is told how far back that was, and where to go on.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, func
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from feedback.columns import now
from feedback.models import Assistant, Feedback
from feedback.review import cells, conditions
from feedback.review.queue import last_seen
from feedback.states import FeedbackKind, FeedbackStatus

LOOKED_AT = 6_000
"""Pieces of feedback that one page looks through for a tag, a category or days."""
SEARCHED = 3_000
"""The same for words, which are looked for in the conversations too."""


@dataclass(frozen=True)
class Sought:
    """Every field narrows it."""

    kind: FeedbackKind | None = None
    status: FeedbackStatus | None = None
    contributor: str | None = None
    tag: str | None = None
    category: str | None = None
    """Of a report, or of its case."""
    search: str | None = None
    """Words in what was said, in the reply or in what was asked; case is ignored in ASCII."""
    days: int | None = None
    """Said in the last so many days."""
    after: str | None = None
    """The last one of the page before: older ones follow."""
    newer_than: str | None = None
    """Only what came in after this one."""


@dataclass(frozen=True)
class Found:
    rows: list[Feedback]
    after: str | None
    """Where the next page goes on; None: there is no more."""
    looked_back_to: datetime | None
    """Where the look ended though the page isn't full: older ones were not looked at."""


def newest(session: Session, assistant: Assistant, sought: Sought, *, limit: int) -> Found:
    """Raises InvalidInput if `after` or `newer_than` is nothing of the assistant's."""
    beyond = _beyond(session, assistant, sought)
    narrowing = _narrowing(assistant, sought)
    if not narrowing:
        first = session.exec(_rows(_window(assistant, sought, beyond, limit + 1), [], limit + 1)).all()
        return Found(list(first[:limit]), first[limit - 1].public_id if len(first) > limit else None, None)
    looked_at = SEARCHED if sought.search else LOOKED_AT
    window = _window(assistant, sought, beyond, looked_at)
    found = session.exec(_rows(window, narrowing, limit + 1)).all()
    if len(found) > limit:
        return Found(list(found[:limit]), found[limit - 1].public_id, None)
    within = window.subquery()
    count, oldest = session.connection().execute(select_columns(func.count(), func.min(within.c.id))).one()
    if count < looked_at:
        return Found(list(found), None, None)
    last = session.get_one(Feedback, oldest)
    return Found(list(found), last.public_id, last.created_at)


def _rows(window: Select[Any], narrowing: list[ColumnElement[bool]], limit: int) -> SelectOfScalar[Feedback]:
    return (
        select(Feedback).where(col(Feedback.id).in_(window), *narrowing).order_by(col(Feedback.id).desc()).limit(limit)
    )


def _window(assistant: Assistant, sought: Sought, beyond: list[ColumnElement[bool]], most: int) -> Select[Any]:
    """The ids of the newest `most` of those that an index finds."""
    if sought.contributor is None and (sought.kind or sought.status):
        kinds = [sought.kind] if sought.kind else FeedbackKind
        statuses = [sought.status] if sought.status else FeedbackStatus
        found = cells.first_of_each(assistant.id, kinds, statuses, beyond, most=most, newest=True)
        inner = found.subquery()
        return select_columns(inner.c.id).order_by(inner.c.id.desc()).limit(most)
    whose = (
        col(Feedback.assistant_id) == assistant.id
        if sought.contributor is None
        else col(Feedback.contributor_id) == sought.contributor
    )
    return select_columns(col(Feedback.id)).where(whose, *beyond).order_by(col(Feedback.id).desc()).limit(most)


def _beyond(session: Session, assistant: Assistant, sought: Sought) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if sought.after is not None:
        found.append(col(Feedback.id) < last_seen(session, assistant, sought.after).id)
    if sought.newer_than is not None:
        found.append(col(Feedback.id) > last_seen(session, assistant, sought.newer_than).id)
    return found


def _narrowing(assistant: Assistant, sought: Sought) -> list[ColumnElement[bool]]:
    """What no index knows. With a contributor, who says little, that is kind and state too."""
    found: list[ColumnElement[bool]] = []
    if sought.contributor is not None:
        found.append(col(Feedback.assistant_id) == assistant.id)
        found += [col(Feedback.kind) == sought.kind] if sought.kind else []
        found += [col(Feedback.status) == sought.status] if sought.status else []
    if sought.tag is not None:
        found.append(conditions.has_tag(sought.tag))
    if sought.category is not None:
        found.append(conditions.reports(sought.category))
    if sought.search is not None:
        found.append(conditions.says(sought.search))
    if sought.days is not None:
        found.append(col(Feedback.created_at) >= now() - timedelta(days=sought.days))
    return found
