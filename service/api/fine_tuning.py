"""`/v1/fine_tuning/jobs`, as OpenAI's clients call it: a job is a run on an operator's own file. For operators."""

from datetime import datetime
from typing import Annotated, Any, Literal

from litestar import Request, get, post
from litestar.params import JSONBody, Parameter
from pydantic import BaseModel
from sqlmodel import Session, col, select

from feedback.config import Settings
from feedback.database import Database
from feedback.errors import InvalidInput
from feedback.fine_tuning import events as telling
from feedback.fine_tuning import jobs
from feedback.fine_tuning.events import JobEvent, Story
from feedback.fine_tuning.jobs import JobState
from feedback.fine_tuning.models import FineTuningJob
from feedback.fine_tuning.requests import JobCreate
from feedback.keys import Caller
from feedback.models import DatasetVersion, Evaluation
from feedback.states import RunStatus
from service.api.lists import Page
from service.auth import may, visible

Limit = Annotated[int, Parameter(ge=1, le=100)]
_METADATA = "metadata["


class JobError(BaseModel):
    code: str
    message: str
    param: str | None


class JobRead(BaseModel):
    id: str
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    created_at: int
    error: JobError | None
    fine_tuned_model: str | None
    finished_at: int | None
    hyperparameters: dict[str, int | float | str]
    model: str
    organization_id: Literal["burnish"] = "burnish"
    result_files: list[str]
    seed: int
    status: str
    trained_tokens: int | None
    training_file: str
    validation_file: str | None
    estimated_finish: int | None
    integrations: list[Any] = []
    metadata: dict[str, str]
    method: dict[str, Any]
    user_provided_suffix: str | None
    run: str | None
    """The job's run here, for `burnish status`."""

    @classmethod
    def of(cls, state: JobState, settings: Settings) -> "JobRead":
        job, run = state.job, state.run
        finished = run.finished_at if run is not None else job.finished_at
        return cls(
            id=job.public_id,
            created_at=int(job.created_at.timestamp()),
            error=_error(state),
            fine_tuned_model=state.model,
            finished_at=None if finished is None else int(finished.timestamp()),
            hyperparameters=job.hyperparameters,
            model=job.model,
            result_files=[] if job.result_file is None else [job.result_file],
            seed=job.seed,
            status=state.status,
            trained_tokens=job.trained_tokens,
            training_file=job.training_file,
            validation_file=job.validation_file,
            estimated_finish=telling.estimated_finish(settings.runs, run),
            metadata=job.client_metadata,
            method={"type": job.method, job.method: {"hyperparameters": job.hyperparameters}},
            user_provided_suffix=job.suffix,
            run=job.run_id,
        )


class EventRead(BaseModel):
    id: str
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: int
    level: str
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any]

    @classmethod
    def of(cls, job: FineTuningJob, event: JobEvent) -> "EventRead":
        at = event.at.timestamp() if isinstance(event.at, datetime) else event.at
        return cls(
            id=telling.event_id(job, event),
            created_at=int(at),
            level=event.level,
            message=event.message,
            type="message" if event.data is None else "metrics",
            data=event.data or {},
        )


class CheckpointRead(BaseModel):
    id: str
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    step_number: int
    metrics: dict[str, float | None]


@post("/v1/fine_tuning/jobs", guards=[may("operate")], status_code=200, sync_to_thread=True)
def create_job(data: JSONBody[JobCreate], caller: Caller, database: Database, settings: Settings) -> JobRead:
    with database.write() as session:
        if "@" in data.model:
            raise InvalidInput(
                "`model` is an assistant's name, or `base`: training begins with the base model, not with a version.",
                param="model",
            )
        job = jobs.create(session, caller, visible(session, caller, data.model), data)
        return JobRead.of(jobs.state_of(session, job), settings)


@get("/v1/fine_tuning/jobs", guards=[may("operate")], sync_to_thread=True)
def list_jobs(
    request: Request[Any, Any, Any],
    caller: Caller,
    database: Database,
    settings: Settings,
    after: str | None = None,
    limit: Limit = 20,
) -> Page[JobRead]:
    """The newest first; `metadata[key]=value` narrows them."""
    asked = {
        name.removeprefix(_METADATA).removesuffix("]"): value
        for name, value in request.query_params.items()
        if name.startswith(_METADATA)
    }
    with database.read() as session:
        found, more = jobs.list_jobs(session, caller, metadata=asked, after=after, limit=limit)
        shown = [JobRead.of(jobs.state_of(session, job), settings) for job in found]
    return Page[JobRead].of(shown, has_more=more)


@get("/v1/fine_tuning/jobs/{job_id:str}", guards=[may("operate")], sync_to_thread=True)
def get_job(job_id: str, caller: Caller, database: Database, settings: Settings) -> JobRead:
    with database.read() as session:
        return JobRead.of(jobs.state_of(session, jobs.get(session, caller, job_id)), settings)


@post("/v1/fine_tuning/jobs/{job_id:str}/cancel", guards=[may("operate")], status_code=200, sync_to_thread=True)
def cancel_job(job_id: str, caller: Caller, database: Database, settings: Settings) -> JobRead:
    with database.write() as session:
        job = jobs.cancel(session, caller, job_id)
        session.flush()
        return JobRead.of(jobs.state_of(session, job), settings)


@post(
    ["/v1/fine_tuning/jobs/{job_id:str}/pause", "/v1/fine_tuning/jobs/{job_id:str}/resume"],
    guards=[may("operate")],
    status_code=200,
    sync_to_thread=True,
)
def pause_job(job_id: str, caller: Caller, database: Database) -> JobRead:
    with database.read() as session:
        jobs.get(session, caller, job_id)
    raise InvalidInput(
        "Jobs can't be paused: cancel it, and create another one later.", param="fine_tuning_job_id", code="unsupported"
    )


@get("/v1/fine_tuning/jobs/{job_id:str}/events", guards=[may("operate")], sync_to_thread=True)
def list_events(
    job_id: str, caller: Caller, database: Database, settings: Settings, after: str | None = None, limit: Limit = 20
) -> Page[EventRead]:
    """The newest first."""
    with database.read() as session:
        story = _story(session, settings, jobs.get(session, caller, job_id))
    found, more = telling.page(story, after=after, limit=limit)
    return Page[EventRead].of([EventRead.of(story.job, event) for event in found], has_more=more)


@get("/v1/fine_tuning/jobs/{job_id:str}/checkpoints", guards=[may("operate")], sync_to_thread=True)
def list_checkpoints(
    job_id: str, caller: Caller, database: Database, settings: Settings, after: str | None = None, limit: Limit = 10
) -> Page[CheckpointRead]:
    """The one that became the version: no other's weights are kept."""
    with database.read() as session:
        story = _story(session, settings, jobs.get(session, caller, job_id))
    kept = telling.kept_step(story.metrics)
    if story.model is None or story.run is None or kept is None or after is not None:
        return Page[CheckpointRead].of([], has_more=False)
    made = CheckpointRead(
        id=f"ftckpt-{job_id.removeprefix('ftjob-')}",
        created_at=int((story.run.finished_at or story.run.created_at).timestamp()),
        fine_tuned_model_checkpoint=story.model,
        fine_tuning_job_id=job_id,
        step_number=kept["step"],
        metrics={"step": kept["step"], "train_loss": kept.get("loss"), "full_valid_loss": kept.get("dev_loss")},
    )
    return Page[CheckpointRead].of([made], has_more=False)


def _story(session: Session, settings: Settings, job: FineTuningJob) -> Story:
    state = jobs.state_of(session, job)
    run = state.run
    dataset = evaluation = None
    if run is not None:
        dataset = None if run.dataset_version_id is None else session.get_one(DatasetVersion, run.dataset_version_id)
        newest = select(Evaluation).where(Evaluation.run_id == run.id).order_by(col(Evaluation.id).desc())
        evaluation = session.exec(newest).first()
    return Story(job, run, dataset, evaluation, state.model, telling.metrics_of(settings.runs, run))


def _error(state: JobState) -> JobError | None:
    if state.run is not None and state.run.status == RunStatus.FAILED:
        return JobError(code="run_failed", message=state.run.error or "The run failed.", param=None)
    return None if state.job.error is None else JobError.model_validate(state.job.error)
