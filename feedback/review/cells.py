"""The first or the newest of what was said, however much there is: a short look into each kind and state.

An index has what was said by assistant, kind and state, in the order it came in. Whoever asks for one kind, or one
state, asks for a few of those cells and takes the first ones of each: nothing else is read, nothing is sorted.
"""

from collections.abc import Iterable

from sqlalchemy import ColumnElement, Select, select, union_all
from sqlmodel import col

from feedback.models import Feedback
from feedback.states import FeedbackKind, FeedbackStatus


def first_of_each(
    assistant_id: int,
    kinds: Iterable[FeedbackKind],
    statuses: Iterable[FeedbackStatus],
    conditions: Iterable[ColumnElement[bool]],
    *,
    most: int,
    newest: bool = False,
) -> Select[tuple[int]]:
    """The ids of the first `most` of each kind in each state: the first of all of them are among these."""
    conditions, statuses = list(conditions), list(statuses)
    order = col(Feedback.id).desc() if newest else col(Feedback.id)
    cells = [
        select(col(Feedback.id))
        .where(col(Feedback.assistant_id) == assistant_id, col(Feedback.kind) == kind, col(Feedback.status) == status)
        .where(*conditions)
        .order_by(order)
        .limit(most)
        .subquery()
        for kind in kinds
        for status in statuses
    ]
    together = union_all(*(select(cell.c.id) for cell in cells)).subquery()
    return select(together.c.id)
