"""The tables of uploaded files and of fine-tuning jobs. A job that has a run has its state; before, and without one,
its own."""

from datetime import datetime

from sqlalchemy import ColumnElement, exists
from sqlmodel import Field, col

from feedback.columns import BIG, Json, Table, json_column, json_or_none, moment, primary_key, reference, word
from feedback.models import Run
from feedback.states import JobStatus


class UploadedFile(Table, table=True):
    """A file of the data folder's `files/`: what an operator uploaded, or what a job had to tell."""

    __tablename__ = "uploaded_file"
    id: int = primary_key()
    public_id: str = Field(unique=True, max_length=40)
    api_key_id: int = reference("api_key.id")  # whose it is
    assistant_id: int | None = reference("assistant.id", nullable=True)  # of a job's results: whoever sees it may read
    purpose: str = Field(max_length=32)
    filename: str = Field(max_length=200)
    bytes: int = Field(sa_type=BIG)
    sha256: str = Field(max_length=64)
    salt: str = Field(max_length=32)  # of the rows made of it
    created_at: datetime = moment()


class FineTuningJob(Table, table=True):
    __tablename__ = "fine_tuning_job"
    id: int = primary_key()
    public_id: str = Field(unique=True, max_length=40)
    api_key_id: int = reference("api_key.id")  # who asked for it
    requested_by: str = Field(max_length=120)
    model: str = Field(max_length=64)  # as the request named it: an assistant, or `base`
    assistant_id: int | None = reference("assistant.id", nullable=True)  # None: one is made once the files are good
    method: str = Field(max_length=16)  # `supervised` or `dpo`
    hyperparameters: Json = json_column()  # as the request gave them: numbers or "auto"
    suffix: str | None = Field(default=None, max_length=64)
    seed: int
    client_metadata: Json = json_column()
    training_file: str = Field(max_length=40, index=True)  # by public id: a deleted file leaves its name
    validation_file: str | None = Field(default=None, max_length=40, index=True)
    status: JobStatus = word(JobStatus, default=JobStatus.VALIDATING_FILES, index=True)
    error: Json | None = json_or_none()  # {code, message, param}
    run_id: str | None = Field(default=None, foreign_key="run.id", unique=True, max_length=40)
    result_file: str | None = Field(default=None, max_length=40)
    trained_tokens: int | None = Field(default=None, sa_type=BIG, nullable=True)
    created_at: datetime = moment()
    validated_at: datetime | None = moment(nullable=True)
    finished_at: datetime | None = moment(nullable=True)  # where no run says so


def learns_feedback() -> ColumnElement[bool]:
    """Of runs: a fine-tuning job's learns from a file alone."""
    return ~exists().where(col(FineTuningJob.run_id) == col(Run.id))
