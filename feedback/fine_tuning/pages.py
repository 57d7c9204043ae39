"""A page of a table by id, as OpenAI's lists have it."""

from typing import TypeVar

from sqlalchemy import ColumnElement
from sqlmodel import Session, col, select

from feedback.fine_tuning.models import FineTuningJob, UploadedFile

Row = TypeVar("Row", UploadedFile, FineTuningJob)


def page(
    session: Session,
    table: type[Row],
    wanted: ColumnElement[bool],
    *,
    after: int | None,
    limit: int,
    newest_first: bool = True,
) -> tuple[list[Row], bool]:
    """Those that come after the row `after`, and whether there are more."""
    number = col(table.id)
    chosen = select(table).where(wanted).order_by(number.desc() if newest_first else number).limit(limit + 1)
    if after is not None:
        chosen = chosen.where(number < after if newest_first else number > after)
    found = list(session.exec(chosen))
    return found[:limit], len(found) > limit
