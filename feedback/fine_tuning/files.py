"""Uploaded files: in the data folder's `files/` by their id, each seen by its own key and by keys that see everything.

A file is written aside and hashed, and there once it is whole; its row comes last, and goes first. Deleting one takes
along the rows that jobs made of it. Leaves out what a file holds (examples.py).
"""

import hashlib
import secrets
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from sqlalchemy import ColumnElement, or_, true
from sqlmodel import Session, col, select

from feedback import audit, files
from feedback.config import Settings
from feedback.database import Database, in_portions
from feedback.erasure.erase import erase_now
from feedback.erasure.subjects import Subject
from feedback.errors import Conflict, InvalidInput, NotFound, TooLarge
from feedback.fine_tuning.models import FineTuningJob, UploadedFile
from feedback.fine_tuning.pages import page
from feedback.keys import Caller
from feedback.models import Assistant, Run
from feedback.states import OPEN_RUNS, ErasureKind, JobStatus

FOR_TRAINING, RESULTS = "fine-tune", "fine-tune-results"
FORGOTTEN_SECONDS = 3600.0
"""Age from which a file without a row is no upload under way."""


class Incoming:
    """`with Incoming(settings) as incoming:` takes a file piece by piece; at the end it lies there, synced."""

    def __init__(self, settings: Settings) -> None:
        self.id = f"file-{secrets.token_hex(12)}"
        self.bytes = 0
        self._most = settings.max_file_mib << 20
        self._digest = hashlib.sha256()
        self._path = settings.files / self.id
        self._replacing = files.replacing(self._path, mode=0o600)

    def __enter__(self) -> "Incoming":
        self._file = self._replacing.__enter__()
        return self

    def write(self, piece: bytes) -> None:
        """Raises TooLarge, once it is."""
        self.bytes += len(piece)
        if self.bytes > self._most:
            raise TooLarge(
                f"The file has more than {self._most >> 20} MiB, the most that may be uploaded here "
                "(BURNISH_MAX_FILE_MIB): split it, and train on the parts one after the other, or leave examples out.",
                param="file",
            )
        self._file.write(piece)
        self._digest.update(piece)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._replacing.__exit__(kind, error, traceback)

    def discard(self) -> None:
        """Remove it again: nobody wants it."""
        self._path.unlink(missing_ok=True)


def keep(
    session: Session, incoming: Incoming, caller: Caller, *, filename: str, purpose: str = FOR_TRAINING
) -> UploadedFile:
    """Remember what has come in. Raises InvalidInput where it isn't to be kept."""
    if purpose != FOR_TRAINING:
        raise InvalidInput(
            f"`purpose` is {purpose!r:.40}, and files are taken for {FOR_TRAINING} alone.", param="purpose"
        )
    if not incoming.bytes:
        raise InvalidInput("The file is empty.", param="file")
    made = _row(incoming, caller.api_key_id, filename, purpose)
    session.add(made)
    session.flush()
    audit.record(session, caller.actor, "file.upload", made.public_id, bytes=made.bytes, sha256=made.sha256)
    return made


def keep_results(session: Session, settings: Settings, job: FineTuningJob, content: bytes) -> UploadedFile:
    """What a job had to tell, for its key and for whoever sees the assistant."""
    with Incoming(settings) as incoming:
        incoming.write(content)
    made = _row(incoming, job.api_key_id, f"{job.public_id}-results.csv", RESULTS)
    made.assistant_id = job.assistant_id
    session.add(made)
    session.flush()
    return made


def _row(incoming: Incoming, api_key_id: int, filename: str, purpose: str) -> UploadedFile:
    return UploadedFile(
        public_id=incoming.id,
        api_key_id=api_key_id,
        purpose=purpose,
        filename=filename[:200],
        bytes=incoming.bytes,
        sha256=incoming.sha256,
        salt=secrets.token_hex(16),
    )


def visible(caller: Caller) -> ColumnElement[bool]:
    if caller.assistant_ids is None:
        return true()
    return or_(
        col(UploadedFile.api_key_id) == caller.api_key_id, col(UploadedFile.assistant_id).in_(caller.assistant_ids)
    )


def get(
    session: Session, caller: Caller, file_id: str, *, param: str = "file_id", lock: str | None = None
) -> UploadedFile:
    """`lock`: "keep" so that nobody deletes it before the transaction ends, "delete" to do so."""
    chosen = select(UploadedFile).where(UploadedFile.public_id == file_id, visible(caller))
    if lock is not None:
        chosen = chosen.with_for_update(key_share=lock == "keep", read=lock == "keep")
    found = session.exec(chosen).first()
    if found is None:
        raise NotFound(
            f"No file '{file_id}', or none that this key may see: GET /v1/files lists them.",
            param=param,
            code="file_not_found",
        )
    return found


def find(session: Session, file_id: str) -> UploadedFile | None:
    return session.exec(select(UploadedFile).where(UploadedFile.public_id == file_id)).first()


def list_files(
    session: Session, caller: Caller, *, purpose: str | None, after: str | None, limit: int, newest_first: bool
) -> tuple[list[UploadedFile], bool]:
    wanted = visible(caller) if purpose is None else visible(caller) & (col(UploadedFile.purpose) == purpose)
    start = get(session, caller, after, param="after").id if after is not None else None
    return page(session, UploadedFile, wanted, after=start, limit=limit, newest_first=newest_first)


def path_of(settings: Settings, file: UploadedFile) -> Path:
    """Raises NotFound where its bytes aren't on this machine."""
    path = settings.files / file.public_id
    if not path.is_file():
        raise NotFound(
            f"The content of {file.public_id} isn't in {settings.files}: service and worker need one data folder.",
            param="file_id",
        )
    return path


def delete(database: Database, settings: Settings, caller: Caller, file_id: str) -> list[str]:
    """Delete a file and take the rows that jobs made of it out of their runs' folders; returns the erasures that do.

    Versions that learned from it stay. Raises Conflict while a job still needs it.
    """
    with database.write() as session:
        file = get(session, caller, file_id, lock="delete")
        users = session.exec(
            select(FineTuningJob).where(
                or_(col(FineTuningJob.training_file) == file_id, col(FineTuningJob.validation_file) == file_id)
            )
        ).all()
        runs = {job.run_id: session.get_one(Run, job.run_id) for job in users if job.run_id is not None}
        busy = [job.public_id for job in users if _is_open(job, runs)]
        if busy:
            raise Conflict(
                f"{file_id} is in use by {', '.join(busy)}: cancel the job, or delete the file once it has ended.",
                param="file_id",
                code="file_in_use",
            )
        erasures = []
        started = [run for run in runs.values() if run.started_at is not None]
        for assistant_id in sorted({run.assistant_id for run in started}):
            made_of_it = [run for run in started if run.assistant_id == assistant_id]
            datasets = [run.dataset_version_id for run in made_of_it if run.dataset_version_id is not None]
            subject = Subject(ErasureKind.FILE, file_id, datasets=datasets)
            erasure, _ = erase_now(session, session.get_one(Assistant, assistant_id), subject, actor=caller.actor)
            erasures.append(erasure.public_id)
        session.delete(file)
        audit.record(session, caller.actor, "file.delete", file_id, erasures=erasures)
    with suppress(FileNotFoundError):
        (settings.files / file_id).unlink()
        files.sync_folder(settings.files)
    return erasures


def _is_open(job: FineTuningJob, runs: dict[str, Run]) -> bool:
    if job.run_id is not None:
        return runs[job.run_id].status in OPEN_RUNS
    return job.status in (JobStatus.VALIDATING_FILES, JobStatus.QUEUED)


def sweep(database: Database, settings: Settings) -> None:
    """Remove what no row knows: uploads that were killed, and what was deleted before a kill."""
    if not settings.files.is_dir():
        return
    old = [
        path for path in settings.files.iterdir() if time.time() - path.stat().st_mtime > FORGOTTEN_SECONDS
    ]  # before looking for rows: a row comes after its file
    known: set[str] = set()
    with database.read() as session:
        for some in in_portions(path.name for path in old):
            known.update(session.exec(select(UploadedFile.public_id).where(col(UploadedFile.public_id).in_(some))))
    for path in old:
        if path.name not in known:
            path.unlink(missing_ok=True)
