"""What an erasure leaves to do after its transaction: run folders, exports, and the database's free space.

Every record says how far it is, so that whoever comes next, after a kill or beside another process, goes on from
there. Leaves out the rows of the tables (erase.py).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import update
from sqlmodel import Session, col, select

from feedback import adapters
from feedback.columns import now
from feedback.complaints import complaint_of
from feedback.config import Settings
from feedback.database import Database, in_portions
from feedback.erasure import folders
from feedback.erasure.erase import forget_errors
from feedback.erasure.folders import GoneRow
from feedback.errors import BurnishError
from feedback.folder_lock import FolderBusy, folder_lock
from feedback.models import Assistant, AuditEntry, DatasetVersion, Erasure, Example, Run
from feedback.states import OPEN_RUNS, ErasureKind, ErasureState

SECONDS_BETWEEN_SCRUBS = 3600.0
"""At least, between two rewrites of the database for what people asked: nobody else writes during one."""
SECONDS_BETWEEN_SCRUBS_FOR_RETENTION = 86_400.0


def clean_files(database: Database, settings: Settings) -> bool:
    """Take what was erased out of the data folder's files; False where something is in use, to be done again later.

    Raises BurnishError, once all others are done, for folders that can't be rewritten.
    """
    with database.read() as session:
        pending = _in_state(session, ErasureState.ROWS_GONE)
        assistants = {one.id: one for one in session.exec(select(Assistant))}
    by_assistant: dict[int, list[Erasure]] = defaultdict(list)
    for erasure in pending:
        by_assistant[erasure.assistant_id].append(erasure)
    if not pending:
        return True
    done, broken = True, list[str]()
    try:
        with folder_lock(settings.data_folder):  # of two at once the slower would put back an older datasheet
            for assistant_id, erasures in by_assistant.items():
                if not settings.runs.is_dir() and _has_datasets(database, assistant_id):
                    done = False  # they lie where the worker runs
                elif _clean(database, settings, assistants[assistant_id], erasures, broken):
                    _advance(database, erasures, ErasureState.FILES_GONE)
                else:
                    done = False
    except FolderBusy:
        return False
    if broken:
        raise BurnishError(
            f"What was erased is still in {'; '.join(broken)}. Mend that, or remove the folder; then the worker, or "
            "`burnish erasures --finish`, goes on."
        )
    return done


def scrub(database: Database, *, at_once: bool = False) -> bool:
    """Leave nothing readable in the database, if something was erased and the last time is long enough ago.

    False: to be done later, or by another process (Database.scrub).
    """
    with database.read() as session:
        pending = _in_state(session, ErasureState.FILES_GONE)
        if not pending:
            return True
        last = session.exec(
            select(Erasure.completed_at)
            .where(col(Erasure.completed_at).is_not(None))
            .order_by(col(Erasure.completed_at).desc())
        ).first()
    asked = any(one.kind != ErasureKind.RETENTION for one in pending)
    pause = timedelta(seconds=SECONDS_BETWEEN_SCRUBS if asked else SECONDS_BETWEEN_SCRUBS_FOR_RETENTION)
    if not at_once and last is not None and now() - last < pause:
        return False
    if not database.scrub():
        return False
    _advance(database, pending, ErasureState.COMPLETE)
    return True


def sweep(database: Database, runs_folder: Path) -> bool:
    """Remove what killed processes left half-written, or hadn't removed yet; False where somebody still writes."""
    left = {path: run_id for path in runs_folder.glob(".*") if (run_id := folders.left_aside(path))}
    with database.read() as session:
        known = {
            run.id: run
            for some in in_portions(set(left.values()))
            for run in session.exec(select(Run).where(col(Run.id).in_(some)))
        }
    unwanted = [path for path, run_id in left.items() if run_id in known and not _may_be_freezing(known[run_id])]
    for path in unwanted:
        folders.remove(path)
    return not any(path.exists() for path in unwanted)


def _may_be_freezing(run: Run) -> bool:
    """From what is left: an erasure cancels the runs that had begun to."""
    return run.status in OPEN_RUNS and run.dataset_version_id is None


def _in_state(session: Session, state: ErasureState) -> list[Erasure]:
    return list(session.exec(select(Erasure).where(Erasure.state == state).order_by(col(Erasure.id))))


def _advance(database: Database, erasures: Iterable[Erasure], state: ErasureState) -> None:
    when = "files_gone_at" if state == ErasureState.FILES_GONE else "completed_at"
    for erasure in erasures:
        with database.write() as session:
            session.connection().execute(
                update(Erasure)
                .where(col(Erasure.id) == erasure.id, col(Erasure.state) == erasure.state)
                .values({"state": state, when: now()})
            )


def _has_datasets(database: Database, assistant_id: int) -> bool:
    with database.read() as session:
        run = select(Run.id).where(Run.assistant_id == assistant_id, col(Run.started_at).is_not(None)).limit(1)
        return session.exec(run).first() is not None


def _clean(
    database: Database, settings: Settings, assistant: Assistant, erasures: list[Erasure], broken: list[str]
) -> bool:
    """`broken` takes the folders that can't be rewritten, and why."""
    with database.read() as session:
        runs = session.exec(select(Run).where(Run.assistant_id == assistant.id)).all()
        gone = _gone_rows(session, erasures)
        tainted = adapters.tainted(session, assistant)
        datasheets = select(DatasetVersion.id, DatasetVersion.datasheet)
        sheets = {
            number: dict(sheet)
            for number, sheet in session.exec(datasheets.where(DatasetVersion.assistant_id == assistant.id))
        }
    done = True
    for run in runs:
        folder = settings.runs / run.id
        try:
            if folder.is_dir():
                sheet = None if run.dataset_version_id is None else sheets[run.dataset_version_id]
                done = _clean_folder(folder, run, gone[run.id], sheet, tainted) and done
        except FolderBusy:
            done = False
        except Exception as error:
            broken.append(f"{folder} ({complaint_of(error) or type(error).__name__})")
            done = False
    if done:
        _forget_errors(database, erasures)
    done = sweep(database, settings.runs) and done
    for path in _exports(database, settings.data_folder, assistant, erasures):
        folders.remove(path)
    return done


def _clean_folder(folder: Path, run: Run, gone: list[GoneRow], sheet: dict[str, Any] | None, tainted: set[str]) -> bool:
    """Raises FolderBusy while a process works in it."""
    ended = run.status not in OPEN_RUNS
    quotes = folders.quotes(folder, tainted)
    if gone and ended:
        folders.take_rows(folder, gone)
    elif quotes and ended:
        folders.take_replies(folder)
    if sheet is not None:
        folders.put_datasheet(folder, sheet)
    elif ended:
        folders.take_all_rows(folder)
    # retention alone lets a run go on; its rows, and what it quotes, go when it has ended
    return ended or not (gone or quotes)


def _forget_errors(database: Database, erasures: list[Erasure]) -> None:
    """Those of runs that went on after the erasure's transaction."""
    for erasure in erasures:
        with database.write() as session:
            marked = select(Example.dataset_version_id).where(Example.erasure_id == erasure.id).distinct()
            forget_errors(session, erasure, session.exec(marked).all())


def _gone_rows(session: Session, erasures: list[Erasure]) -> dict[str, list[GoneRow]]:
    """By run, of those that froze a dataset with rows that were erased."""
    gone: dict[str, list[GoneRow]] = defaultdict(list)
    for erasure in erasures:
        chosen = (
            select(Run.id, Example.row_id, Example.sha256)
            .join(Example, col(Example.dataset_version_id) == col(Run.dataset_version_id))
            .where(Example.erasure_id == erasure.id)
        )
        for run_id, row_id, sha256 in session.exec(chosen):
            gone[run_id].append(GoneRow(row_id, sha256))
    return gone


def _exports(database: Database, data_folder: Path, assistant: Assistant, erasures: list[Erasure]) -> Iterator[Path]:
    """What was exported into the data folder before the last of these erasures; elsewhere it is the operator's.

    By how much had been erased when the export began: times tell nothing of an erasure whose transaction was open.
    """
    latest = max(erasure.id for erasure in erasures)
    with database.read() as session:
        found = session.exec(
            select(AuditEntry).where(AuditEntry.action == "feedback.export", AuditEntry.subject == assistant.name)
        ).all()
    entries = [entry for entry in found if entry.details.get("after_erasure", 0) < latest]
    inside = data_folder.resolve()
    for file in {Path(entry.details["file"]) for entry in entries if entry.details.get("file")}:
        if file.is_relative_to(inside):
            yield from (path for path in file.parent.glob("*") if path == file or folders.left_aside(path) == file.name)
