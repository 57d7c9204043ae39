"""One erasure: what is marked leaves every table, and whatever learned from it is tainted, in one transaction.

What it leaves to do, in the run folders and in the database's free space, is in its record: `finish.py` sees to that.
"""

import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

from sqlalchemy import func, update
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from feedback import audit, datasets, releases, runs
from feedback.columns import now
from feedback.database import Database, came_first, in_portions, keep_out
from feedback.erasure import case_words, topics
from feedback.erasure.marks import Marked, delete, mark
from feedback.erasure.subjects import Subject
from feedback.errors import Conflict, NotFound
from feedback.fine_tuning.models import learns_feedback
from feedback.models import AdapterVersion, Assistant, DatasetVersion, Erasure, Example, Run
from feedback.states import LEARNED_ALL_THE_SAME, OPEN_RUNS, ErasureKind, ErasureState

_TRIES = 3
_FORGOTTEN = "Ended with an error; its words went with"


@dataclass(frozen=True)
class Consequences:
    """What an erasure does, or would do."""

    counts: dict[str, int]
    """Rows by table; `dataset_rows`: those of frozen datasets."""
    datasets: list[str]
    tainted: list[str]
    cancelled: list[str]
    """Open runs that hold what is erased."""
    retrain: bool


def preview(session: Session, assistant: Assistant, subject: Subject) -> Consequences:
    """What `erase` would do; changes nothing."""
    return _consequences(session, assistant, subject, mark(session, assistant, subject))


def erase(
    database: Database, assistant: Assistant, subject: Subject | Callable[[Session], Subject], *, actor: str
) -> tuple[Erasure, Consequences]:
    """Raises NotFound when nothing of the subject is left. Whoever adds to it at this moment comes first, or fails.

    A function tells the subject in the transaction that erases it, and locks what it goes by.
    """
    for last_try in (False,) * (_TRIES - 1) + (True,):
        try:
            with database.write() as session:
                return erase_now(session, assistant, subject, actor=actor)
        except DBAPIError as error:
            if last_try or not came_first(error):
                raise
    raise AssertionError("unreachable")


def erase_now(
    session: Session, assistant: Assistant, subject: Subject | Callable[[Session], Subject], *, actor: str
) -> tuple[Erasure, Consequences]:
    keep_out(session, datasets.gathering(assistant))  # a run that begins at this moment gathers what is left
    freezing = _lock_open_runs(session, assistant)
    if not isinstance(subject, Subject):
        subject = subject(session)
    marked = mark(session, assistant, subject, lock=True)
    if not marked.ids and subject.kind != ErasureKind.FILE:  # whose rows may be in a run's folder alone
        raise NotFound("Nothing of it is here (any more).")
    if freezing and subject.kind == ErasureKind.RETENTION:
        raise Conflict("A run is freezing its dataset: what is too old goes once it has.")
    consequences = _consequences(session, assistant, subject, marked)
    erasure = Erasure(
        public_id=f"er-{secrets.token_hex(12)}",
        assistant_id=assistant.id,
        kind=subject.kind,
        subject_sha256=subject.sha256,
        actor=actor,
        counts=consequences.counts,
    )
    session.add(erasure)
    session.flush()
    _mark_datasets(session, erasure, marked)
    words = topics.named_words(session, assistant, marked)
    case_words.forget(session, marked.cases)
    delete(session, marked)
    topics.forget(session, assistant, words)
    label = erasure.public_id
    audit.record(session, actor, "erasure", label, assistant=assistant.name, kind=subject.kind, **asdict(consequences))
    for run_id in consequences.cancelled:
        runs.cancel(session, run_id, actor=actor)
    if subject.kind not in LEARNED_ALL_THE_SAME:
        _taint(session, assistant, erasure, marked)
    if consequences.retrain:
        _request_retraining(session, assistant, erasure, actor)
    session.flush()
    return erasure, consequences


def get_erasure(session: Session, public_id: str) -> Erasure:
    erasure = session.exec(select(Erasure).where(Erasure.public_id == public_id)).first()
    if erasure is None:
        raise NotFound(f"No erasure '{public_id}': `burnish erasures` lists them.", param="id")
    return erasure


def list_erasures(
    session: Session, assistant: Assistant | None = None, limit: int = 50, after: str | None = None
) -> list[Erasure]:
    """The newest, but first of all those that aren't complete; `after`: those that follow this one."""
    complete = col(Erasure.state) == ErasureState.COMPLETE
    chosen = select(Erasure).order_by(complete, col(Erasure.id).desc()).limit(limit)
    if assistant is not None:
        chosen = chosen.where(Erasure.assistant_id == assistant.id)
    if after is not None:
        last = session.exec(chosen.where(Erasure.public_id == after)).first()
        if last is None:
            raise NotFound(f"No erasure '{after}': `burnish erasures` lists them.", param="after")
        older = col(Erasure.id) < last.id
        chosen = chosen.where(complete & older if last.state == ErasureState.COMPLETE else complete | older)
    return list(session.exec(chosen))


def forget_errors(session: Session, erasure: Erasure, datasets: Sequence[int]) -> None:
    """What runs on these datasets said when they failed: a training process's last line may quote what it read."""
    for some in in_portions(datasets):
        quoting = (col(Run.dataset_version_id).in_(some), ~col(Run.error).startswith(_FORGOTTEN))
        session.connection().execute(update(Run).where(*quoting).values(error=f"{_FORGOTTEN} {erasure.public_id}."))


def newest_erasure(session: Session, assistant: Assistant) -> int:
    """Tells, asked twice, whether anything was erased in between."""
    return session.exec(select(func.max(Erasure.id)).where(Erasure.assistant_id == assistant.id)).one() or 0


def _consequences(session: Session, assistant: Assistant, subject: Subject, marked: Marked) -> Consequences:
    numbers = [
        number
        for some in in_portions(marked.datasets)
        for number in session.exec(select(DatasetVersion.number).where(col(DatasetVersion.id).in_(some)))
    ]
    counts = marked.counts | ({"dataset_rows": len(marked.rows)} if marked.rows else {})
    datasets = [f"v{number}" for number in sorted(numbers)]
    if subject.kind in LEARNED_ALL_THE_SAME:  # what versions learned stays learned, and no run is held up
        return Consequences(counts, datasets, [], [], False)
    tainted = [f"{assistant.name}@{version.number}" for version in _learned_from(session, marked)]
    cancelled = [run.id for run in _open_runs(session, assistant) if _holds(run, marked)]
    return Consequences(counts, datasets, tainted, cancelled, bool(tainted or cancelled))


def _lock_open_runs(session: Session, assistant: Assistant) -> bool:
    """So that none records a dataset meanwhile; tells whether one is between gathering its dataset and recording it."""
    locked = _open_on_feedback(assistant).with_for_update().execution_options(populate_existing=True)
    return any(_freezing(run) for run in session.exec(locked))


def _open_runs(session: Session, assistant: Assistant) -> Sequence[Run]:
    return session.exec(_open_on_feedback(assistant)).all()


def _open_on_feedback(assistant: Assistant) -> SelectOfScalar[Run]:
    """A fine-tuning job's run holds nothing that anybody said."""
    return select(Run).where(Run.assistant_id == assistant.id, col(Run.status).in_(OPEN_RUNS), learns_feedback())


def _freezing(run: Run) -> bool:
    return run.started_at is not None and run.dataset_version_id is None


def _holds(run: Run, marked: Marked) -> bool:
    """Whether a run has what is erased, or may have it in hand."""
    return _freezing(run) or run.dataset_version_id in marked.datasets


def _learned_from(session: Session, marked: Marked) -> list[AdapterVersion]:
    """The versions that trained on a marked row, stopped early by one, or were judged by one, and those that went on
    from them; not yet tainted."""
    found: dict[int, AdapterVersion] = {}
    new = [
        version
        for some in in_portions(marked.datasets)
        for version in session.exec(
            select(AdapterVersion)
            .join(Run, col(Run.id) == col(AdapterVersion.run_id))
            .where(col(Run.dataset_version_id).in_(some))
        )
    ]
    while new:
        found |= {version.id: version for version in new}
        new = [
            version
            for some in in_portions([version.id for version in new])
            for version in session.exec(select(AdapterVersion).where(col(AdapterVersion.began_from_id).in_(some)))
            if version.id not in found
        ]
    untainted = (version for version in found.values() if version.tainted_at is None)
    return sorted(untainted, key=lambda version: version.number)


def _mark_datasets(session: Session, erasure: Erasure, marked: Marked) -> None:
    connection = session.connection()
    for some in in_portions(row.example_id for row in marked.rows):
        connection.execute(update(Example).where(col(Example.id).in_(some)).values(erasure_id=erasure.id))
    for dataset, rows in Counter(row.dataset_id for row in marked.rows).items():
        connection.execute(
            update(DatasetVersion)
            .where(col(DatasetVersion.id) == dataset)
            .values(rows_erased=col(DatasetVersion.rows_erased) + rows, erased_at=now())
        )
    forget_errors(session, erasure, marked.datasets)


def _taint(session: Session, assistant: Assistant, erasure: Erasure, marked: Marked) -> None:
    versions = _learned_from(session, marked)
    for version in versions:
        version.tainted_at = now()
        version.tainted_reason = f"Feedback that it learned from, or was judged by, was erased ({erasure.public_id})."
        session.add(version)
    session.flush()
    reason = f"Feedback behind it was erased ({erasure.public_id})."
    releases.withdraw(session, assistant, [version.id for version in versions], actor=erasure.actor, reason=reason)


def _request_retraining(session: Session, assistant: Assistant, erasure: Erasure, actor: str) -> None:
    with suppress(Conflict):  # one that hasn't begun is queued already: it will gather what is left by then
        runs.request(session, assistant, f"without what {erasure.public_id} erased", actor=actor)
