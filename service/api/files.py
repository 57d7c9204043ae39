"""`/v1/files`, as OpenAI's clients call it: training files in, and out again what jobs had to tell. For operators."""

import asyncio
from typing import Annotated, Any, Literal

from litestar import Request, delete, get, post
from litestar.params import Parameter
from litestar.response import File
from pydantic import BaseModel

from feedback.config import Settings
from feedback.database import Database
from feedback.errors import InvalidInput
from feedback.fine_tuning import files as uploads
from feedback.fine_tuning.models import UploadedFile
from feedback.keys import Caller
from service.api.lists import Page
from service.api.uploads import Form, receive
from service.auth import may

Limit = Annotated[int, Parameter(ge=1, le=10_000)]


class FileRead(BaseModel):
    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"
    expires_at: None = None

    @classmethod
    def of(cls, row: UploadedFile) -> "FileRead":
        return cls(
            id=row.public_id,
            bytes=row.bytes,
            created_at=int(row.created_at.timestamp()),
            filename=row.filename,
            purpose=row.purpose,
        )


class FileDeleted(BaseModel):
    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True
    erasures: list[str]
    """Receipts: they take the rows that jobs made of the file out of the runs' folders."""


@post("/v1/files", guards=[may("operate")], status_code=200, request_max_body_size=None)
async def create_file(
    request: Request[Any, Any, Any], caller: Caller, database: Database, settings: Settings
) -> FileRead:
    """A form with `file` and `purpose`, which is `fine-tune`."""
    incoming = uploads.Incoming(settings)
    await asyncio.to_thread(incoming.__enter__)
    try:
        form = await receive(request, incoming)
        if "expires_after[anchor]" in form.fields or "expires_after[seconds]" in form.fields:
            raise InvalidInput("Files don't expire here: leave it out, and delete the file.", param="expires_after")
    except BaseException as error:
        incoming.__exit__(type(error), error, error.__traceback__)
        raise
    return await asyncio.to_thread(_keep, database, incoming, form, caller)


@get("/v1/files", guards=[may("operate")], sync_to_thread=True)
def list_files(
    caller: Caller,
    database: Database,
    purpose: str | None = None,
    after: str | None = None,
    limit: Limit = 10_000,
    order: Literal["asc", "desc"] = "desc",
) -> Page[FileRead]:
    with database.read() as session:
        found, more = uploads.list_files(
            session, caller, purpose=purpose, after=after, limit=limit, newest_first=order == "desc"
        )
    return Page[FileRead].of([FileRead.of(one) for one in found], has_more=more)


@get("/v1/files/{file_id:str}", guards=[may("operate")], sync_to_thread=True)
def get_file(file_id: str, caller: Caller, database: Database) -> FileRead:
    with database.read() as session:
        return FileRead.of(uploads.get(session, caller, file_id))


@get("/v1/files/{file_id:str}/content", guards=[may("operate")], sync_to_thread=True)
def get_file_content(file_id: str, caller: Caller, database: Database, settings: Settings) -> File:
    with database.read() as session:
        file = uploads.get(session, caller, file_id)
    return File(uploads.path_of(settings, file), filename=file.filename, media_type="application/octet-stream")


@delete("/v1/files/{file_id:str}", guards=[may("operate")], status_code=200, sync_to_thread=True)
def delete_file(file_id: str, caller: Caller, database: Database, settings: Settings) -> FileDeleted:
    erasures = uploads.delete(database, settings, caller, file_id)
    return FileDeleted(id=file_id, erasures=erasures)


def _keep(database: Database, incoming: uploads.Incoming, form: Form, caller: Caller) -> FileRead:
    incoming.__exit__(None, None, None)
    try:
        with database.write() as session:
            made = uploads.keep(
                session, incoming, caller, filename=str(form.filename), purpose=form.fields.get("purpose", "")
            )
    except InvalidInput:
        incoming.discard()
        raise
    return FileRead.of(made)
