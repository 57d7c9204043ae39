"""Fine-tuning jobs: asked for, checked, queued as runs, told of. From then on a job is its run, cancelled as it is.

    validating_files → (queued → its run: queued → running → succeeded | failed | cancelled) | failed | cancelled

`advance` takes every job a step further and may be called by anyone at any time, twice or at once. A job waits until
its assistant has no other run open. Nothing here promotes what a job made. Leaves out what a job learns from
(dataset.py) and what it tells on its way (events.py).
"""

import re
import secrets
from dataclasses import dataclass

import structlog
from sqlalchemy import ColumnElement, or_, true, update
from sqlmodel import Session, col, select

from feedback import assistants, audit, runs
from feedback.columns import now
from feedback.config import Settings
from feedback.database import Database
from feedback.errors import Conflict, InvalidInput, NotFound
from feedback.fine_tuning import files as uploads
from feedback.fine_tuning.events import results_csv
from feedback.fine_tuning.examples import MIN_EXAMPLES, Method, check
from feedback.fine_tuning.models import FineTuningJob
from feedback.fine_tuning.pages import page
from feedback.fine_tuning.requests import JobCreate
from feedback.keys import Caller
from feedback.models import AdapterVersion, ApiKeyAssistant, Assistant, Run
from feedback.states import OPEN_RUNS, JobStatus

_log = structlog.get_logger()
_METHODS: dict[str, Method] = {"supervised": "supervised", "dpo": "dpo"}
_FILES = ("training_file", "validation_file")


@dataclass(frozen=True)
class JobState:
    """A job, and what became of it."""

    job: FineTuningJob
    run: Run | None
    model: str | None
    """The version that it made."""

    @property
    def status(self) -> str:
        return str(self.run.status) if self.run is not None else str(self.job.status)


def create(session: Session, caller: Caller, assistant: Assistant, asked: JobCreate) -> FineTuningJob:
    """`assistant`: the one that `asked.model` names, seen by the caller; `base` stands for one to be made."""
    method, hyperparameters = asked.chosen()
    if asked.validation_file == asked.training_file:
        raise InvalidInput("The validation file is the training file: leave it out.", param="validation_file")
    for name in _FILES:
        file_id = getattr(asked, name)
        if file_id is None:
            continue
        file = uploads.get(session, caller, file_id, param=name, lock="keep")
        if file.purpose != uploads.FOR_TRAINING:
            raise InvalidInput(f"{file_id} is for {file.purpose}, not for {uploads.FOR_TRAINING}.", param=name)
    job = FineTuningJob(
        public_id=f"ftjob-{secrets.token_hex(12)}",
        api_key_id=caller.api_key_id,
        requested_by=caller.actor,
        model=asked.model,
        assistant_id=None if assistant.name == assistants.BASE_VERSION else assistant.id,
        method=method,
        hyperparameters=hyperparameters,
        suffix=asked.suffix,
        seed=secrets.randbelow(2**31) if asked.seed is None else asked.seed,
        client_metadata=asked.metadata or {},
        training_file=asked.training_file,
        validation_file=asked.validation_file,
    )
    session.add(job)
    session.flush()
    audit.record(session, caller.actor, "job.create", job.public_id, model=asked.model, training_file=job.training_file)
    return job


def visible(caller: Caller) -> ColumnElement[bool]:
    """To whoever asked for it, and to whoever sees its assistant."""
    if caller.assistant_ids is None:
        return true()
    return or_(
        col(FineTuningJob.api_key_id) == caller.api_key_id, col(FineTuningJob.assistant_id).in_(caller.assistant_ids)
    )


def get(session: Session, caller: Caller, job_id: str, *, param: str = "fine_tuning_job_id") -> FineTuningJob:
    job = session.exec(select(FineTuningJob).where(FineTuningJob.public_id == job_id, visible(caller))).first()
    if job is None:
        raise NotFound(
            f"No fine-tuning job '{job_id}', or none that this key may see: GET /v1/fine_tuning/jobs lists them.",
            param=param,
            code="fine_tuning_job_not_found",
        )
    return job


def list_jobs(
    session: Session, caller: Caller, *, metadata: dict[str, str], after: str | None, limit: int
) -> tuple[list[FineTuningJob], bool]:
    """The newest first; `metadata`: only those that have all of it."""
    wanted = visible(caller)
    for key, value in metadata.items():
        wanted &= col(FineTuningJob.client_metadata)[key].as_string() == value
    start = get(session, caller, after, param="after").id if after is not None else None
    return page(session, FineTuningJob, wanted, after=start, limit=limit)


def state_of(session: Session, job: FineTuningJob) -> JobState:
    if job.run_id is None:
        return JobState(job, None, None)
    made = session.exec(
        select(AdapterVersion.number, Assistant.name)
        .join(Assistant, col(Assistant.id) == col(AdapterVersion.assistant_id))
        .where(AdapterVersion.run_id == job.run_id)
    ).first()
    return JobState(job, session.get_one(Run, job.run_id), f"{made[1]}@{made[0]}" if made else None)


def cancel(session: Session, caller: Caller, job_id: str) -> FineTuningJob:
    job = get(session, caller, job_id)
    session.refresh(job, with_for_update=True)
    if job.run_id is not None:
        runs.cancel(session, job.run_id, actor=caller.actor)
    elif job.status in (JobStatus.VALIDATING_FILES, JobStatus.QUEUED):
        job.status, job.finished_at = JobStatus.CANCELLED, now()
        session.add(job)
    else:
        raise Conflict(f"{job_id} has ended already ({job.status}).")
    audit.record(session, caller.actor, "job.cancel", job_id)
    return job


def of_run(session: Session, run_id: str) -> FineTuningJob | None:
    return session.exec(select(FineTuningJob).where(FineTuningJob.run_id == run_id)).first()


def conclude(session: Session, settings: Settings, job: FineTuningJob, metrics: dict[str, object]) -> None:
    """Keep what the run measured, in the transaction that registers its version."""
    results = uploads.keep_results(session, settings, job, results_csv(metrics))
    job.result_file, job.trained_tokens = results.public_id, int(str(metrics.get("trained_tokens", 0)))
    session.add(job)


def advance(database: Database, settings: Settings) -> None:
    """Check the files of new jobs, and queue runs for those whose files are good."""
    with database.read() as session:
        unread = session.exec(
            select(FineTuningJob)
            .where(FineTuningJob.status == JobStatus.VALIDATING_FILES)
            .order_by(col(FineTuningJob.id))
        ).all()
    for job in unread:
        _validate(database, settings, job)
    with database.read() as session:
        waiting = session.exec(
            select(FineTuningJob)
            .where(FineTuningJob.status == JobStatus.QUEUED, col(FineTuningJob.run_id).is_(None))
            .order_by(col(FineTuningJob.id))
        ).all()
        free = [job.id for job in waiting if not _has_to_wait(session, job)]
    for job_id in free:
        _queue(database, job_id)


def _validate(database: Database, settings: Settings, job: FineTuningJob) -> None:
    error = None
    for param in _FILES:
        file_id = getattr(job, param)
        if file_id is not None and error is None and (wrong := _wrong_with(database, settings, job, file_id)):
            kind = param.removesuffix("_file")
            message = f"The job failed due to an invalid {kind} file. {wrong[0].upper()}{wrong[1:]}"
            error = {"code": f"invalid_{param}", "message": message, "param": param}
    outcome: dict[str, object] = {"status": JobStatus.QUEUED, "validated_at": now()}
    if error is not None:
        outcome = {"status": JobStatus.FAILED, "error": error, "finished_at": now()}
    with database.write() as session:
        session.connection().execute(
            update(FineTuningJob)
            .where(col(FineTuningJob.id) == job.id, col(FineTuningJob.status) == JobStatus.VALIDATING_FILES)
            .values(**outcome)
        )
    _log.info("fine-tuning files read", job=job.public_id, good=error is None)


def _wrong_with(database: Database, settings: Settings, job: FineTuningJob, file_id: str) -> str | None:
    with database.read() as session:
        file = uploads.find(session, file_id)
    try:
        if file is None:
            return "It was deleted."
        least = MIN_EXAMPLES if file_id == job.training_file else 1
        return check(uploads.path_of(settings, file), _METHODS[job.method], least=least)
    except NotFound as error:
        return error.message


def _has_to_wait(session: Session, job: FineTuningJob) -> bool:
    open_run = select(Run.id).where(Run.assistant_id == job.assistant_id, col(Run.status).in_(OPEN_RUNS)).limit(1)
    return job.assistant_id is not None and session.exec(open_run).first() is not None


def _queue(database: Database, job_id: int) -> None:
    with database.write() as session:
        job = session.get_one(FineTuningJob, job_id, with_for_update=True)
        if job.status != JobStatus.QUEUED or job.run_id is not None:
            return
        if job.assistant_id is None:
            job.assistant_id = _make_assistant(session, job).id
        assistant = session.get_one(Assistant, job.assistant_id)
        try:
            run = runs.request(session, assistant, f"fine-tuning job {job.public_id}", actor=job.requested_by)
        except Conflict:  # somebody else's came first
            return
        run.seed, job.run_id = job.seed, run.id
        session.add_all([run, job])
    _log.info("fine-tuning job queued", job=job.public_id, run=run.id)


def _make_assistant(session: Session, job: FineTuningJob) -> Assistant:
    """One of the job's own, named after its suffix, for the base model; seen by the key that asked for it."""
    base = assistants.get_assistant(session, assistants.BASE_VERSION)
    known = {assistant.name for assistant in assistants.list_assistants(session)}
    name = free_name(job.suffix or "fine-tuned", known)
    made = assistants.create(session, name, base.base_model, actor=job.requested_by)
    narrow = select(ApiKeyAssistant).where(ApiKeyAssistant.api_key_id == job.api_key_id).limit(1)
    if session.exec(narrow).first() is not None:
        session.add(ApiKeyAssistant(api_key_id=job.api_key_id, assistant_id=made.id))
    return made


def free_name(suffix: str, known: set[str]) -> str:
    """
    >>> free_name("My Shop!", set()), free_name("my-shop", {"my-shop", "my-shop-2"}), free_name("日本", set())
    ('my-shop', 'my-shop-3', 'fine-tuned')
    """
    name = re.sub(r"[^a-z0-9._-]+", "-", suffix.lower()).strip("-._")[:56] or "fine-tuned"
    number = 1
    while (free := name if number == 1 else f"{name}-{number}") in known:
        number += 1
    return free
