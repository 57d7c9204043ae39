"""What goes along with a subject: everything that points at it, in every table, and the datasets made of that.

The tables' foreign keys say what points where, so that a table that comes later is erased from as well. Somebody
else's feedback on an erased conversation goes too: it holds, or answers, what was said there.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy import Table as TableObject
from sqlmodel import Session, col

from feedback.columns import Table
from feedback.database import in_portions
from feedback.erasure.subjects import Subject
from feedback.models import (
    Assistant,
    Contributor,
    Conversation,
    Example,
    ExampleSource,
    Feedback,
    Message,
    ReportCase,
)
from feedback.states import FeedbackKind
from feedback.trials import ShadowReply

ALSO = (ShadowReply,)
"""Tables outside models.py with what people said in them: named here so that whoever erases knows of them."""
Ids = dict[str, list[Any]]
"""By table: what goes, or what is looked for."""


@dataclass(frozen=True)
class Marked:
    """Everything that one erasure takes."""

    ids: Ids
    """Of every table whose rows have one id."""
    counts: dict[str, int]
    examples: list["MarkedRow"]
    """The rows of datasets that were made of marked feedback, or are of marked datasets."""
    cases: list[int]
    """Those that lose a report and keep another: they stay, without what was written about them."""

    @property
    def datasets(self) -> list[int]:
        return sorted({row.dataset_id for row in self.examples})

    @property
    def rows(self) -> list["MarkedRow"]:
        """Those that weren't erased before, with other feedback that they were made of."""
        return [row for row in self.examples if row.erasure_id is None]


class MarkedRow(NamedTuple):
    example_id: int
    dataset_id: int
    erasure_id: int | None


def mark(session: Session, assistant: Assistant, subject: Subject, *, lock: bool = False) -> Marked:
    """Find it all; `lock`: so that nothing is added to it before the transaction ends."""
    ids: Ids = {
        Contributor.__tablename__: list(subject.contributors),
        Conversation.__tablename__: [*subject.conversations, *_conversations_of(session, assistant, subject)],
        Feedback.__tablename__: list(subject.feedback),
    }
    if lock:
        _lock_cases(session, subject)
    counts: dict[str, int] = {}
    for table in Table.metadata.sorted_tables:
        pointing = _pointing(table, ids)
        if "id" not in table.c:
            found = sum(
                session.connection().execute(select(func.count()).select_from(table).where(where)).scalar_one()
                for where in pointing
            )
            counts |= {table.name: found} if found else {}
            continue
        known = set(ids.get(table.name, ()))
        wanted = [*pointing, *(table.c.id.in_(some) for some in in_portions(known))]
        rows = sorted({row for where in wanted for row in _rows(session, table, where, lock=lock)})
        if rows:
            ids[table.name] = rows
            counts[table.name] = len(rows)
        else:
            ids.pop(table.name, None)
    losing, said = _losing_cases(session, ids), set(ids.get(Feedback.__tablename__, ()))
    emptied = {case_id for case_id, reports in losing.items() if reports <= said}
    if cases := sorted({*ids.get(ReportCase.__tablename__, ()), *emptied}):
        ids[ReportCase.__tablename__], counts[ReportCase.__tablename__] = cases, len(cases)
    examples = [*_examples(session, ids.get(Feedback.__tablename__, [])), *_rows_of(session, subject.datasets)]
    return Marked(ids, counts, examples, sorted(losing.keys() - set(cases)))


def delete(session: Session, marked: Marked) -> None:
    """All that is marked, children first; whole conversations at once, since their messages point at each other."""
    connection = session.connection()
    for table in reversed(Table.metadata.sorted_tables):
        if "id" not in table.c:
            wheres = _pointing(table, marked.ids)
        elif table.name == Message.__tablename__:
            wheres = _pointing(table, {Conversation.__tablename__: marked.ids.get(Conversation.__tablename__, [])})
        else:
            wheres = [table.c.id.in_(some) for some in in_portions(marked.ids.get(table.name, []))]
        for where in wheres:
            connection.execute(table.delete().where(where))
    session.expire_all()


def _conversations_of(session: Session, assistant: Assistant, subject: Subject) -> Iterator[int]:
    for some in in_portions(subject.contributors):
        chosen = select(col(Conversation.id)).where(
            col(Conversation.assistant_id) == assistant.id, col(Conversation.contributor_id).in_(some)
        )
        yield from session.connection().execute(chosen).scalars()


def _lock_cases(session: Session, subject: Subject) -> None:
    """Before their reports, as everywhere."""
    wheres = [col(Feedback.id).in_(some) for some in in_portions(subject.feedback)]
    wheres += [col(Feedback.contributor_id).in_(some) for some in in_portions(subject.contributors)]
    for where in wheres:
        reported = select(col(Feedback.message_id)).where(where, col(Feedback.kind) == FeedbackKind.REPORT)
        about = select(col(ReportCase.id)).where(col(ReportCase.message_id).in_(reported))
        session.connection().execute(about.order_by(col(ReportCase.id)).with_for_update())


def _losing_cases(session: Session, ids: Ids) -> dict[int, set[int]]:
    """All reports of each case that loses one. Where none is left, the case's notes are about reports that go."""
    reports: dict[int, set[int]] = defaultdict(set)
    for some in in_portions(ids.get(Feedback.__tablename__, ())):
        mine = select(col(Feedback.message_id)).where(
            col(Feedback.id).in_(some), col(Feedback.kind) == FeedbackKind.REPORT
        )
        about = (
            select(col(ReportCase.id), col(Feedback.id))
            .join(Feedback, col(Feedback.message_id) == col(ReportCase.message_id))
            .where(col(ReportCase.message_id).in_(mine), col(Feedback.kind) == FeedbackKind.REPORT)
        )
        for case_id, report in session.connection().execute(about):
            reports[case_id].add(report)
    return reports


def _pointing(table: TableObject, ids: Ids) -> list[ColumnElement[bool]]:
    """Conditions, each of bounded size, for the rows of `table` that point at any of `ids`."""
    return [
        key.parent.in_(some)
        for key in table.foreign_keys
        if key.column.table.name in ids and key.column.table is not table
        for some in in_portions(ids[key.column.table.name])
    ]


def _rows(session: Session, table: TableObject, where: ColumnElement[bool], *, lock: bool) -> Sequence[Any]:
    chosen: Select[Any] = select(table.c.id).where(where)
    return session.connection().execute(chosen.with_for_update() if lock else chosen).scalars().all()


def _examples(session: Session, feedback_ids: Sequence[int]) -> list[MarkedRow]:
    found: set[MarkedRow] = set()
    for some in in_portions(feedback_ids):
        chosen = (
            select(col(Example.id), col(Example.dataset_version_id), col(Example.erasure_id))
            .join(ExampleSource, col(ExampleSource.example_id) == col(Example.id))
            .where(col(ExampleSource.feedback_id).in_(some))
        )
        found.update(MarkedRow(*row) for row in session.connection().execute(chosen))
    return sorted(found, key=lambda row: row.example_id)


def _rows_of(session: Session, datasets: Sequence[int]) -> Iterator[MarkedRow]:
    for some in in_portions(datasets):
        chosen = select(col(Example.id), col(Example.dataset_version_id), col(Example.erasure_id))
        rows = session.connection().execute(chosen.where(col(Example.dataset_version_id).in_(some)))
        yield from (MarkedRow(*row) for row in rows)
