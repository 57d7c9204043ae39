"""For operators: erase a person's words, a conversation or a piece of feedback, and see how far that is."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

from litestar import get, post
from litestar.params import JSONBody, Parameter
from pydantic import BaseModel, Field
from sqlmodel import Session

from feedback.database import Database
from feedback.erasure import erase as erasing
from feedback.erasure.subjects import Named, resolve
from feedback.errors import NotFound
from feedback.keys import Caller
from feedback.models import Assistant, Erasure
from feedback.states import ErasureKind, ErasureState
from service.api.strict_body import StrictBody
from service.auth import may, visible
from service.secret import Secret


class ErasureCreate(StrictBody):
    """One thing by its name; `key` only beside `user`."""

    user: str | None = Field(None, max_length=200, description="A person, as the app calls them; under every key.")
    key: str | None = Field(None, max_length=100, description="Only under keys of this name.")
    contributor: str | None = Field(None, max_length=32)
    conversation: str | None = Field(None, max_length=200)
    completion: str | None = Field(None, max_length=64)
    feedback: str | None = Field(None, max_length=40)
    dry_run: bool = Field(False, description="Only say what would go.")


class ErasureRead(BaseModel):
    id: str
    assistant: str
    kind: ErasureKind
    subject_sha256: str
    state: ErasureState
    counts: dict[str, int]
    actor: str
    created_at: datetime
    files_gone_at: datetime | None
    completed_at: datetime | None

    @classmethod
    def of(cls, session: Session, row: Erasure) -> "ErasureRead":
        fields = {name: getattr(row, name) for name in cls.model_fields if name not in ("id", "assistant")}
        return cls(id=row.public_id, assistant=session.get_one(Assistant, row.assistant_id).name, **fields)


class ConsequencesRead(BaseModel):
    counts: dict[str, int]
    datasets: list[str]
    tainted: list[str]
    cancelled: list[str]
    retrain: bool


class ErasureDone(BaseModel):
    erasure: ErasureRead | None
    consequences: ConsequencesRead


@post("/v1/assistants/{name:str}/erasures", guards=[may("operate")], status_code=200, sync_to_thread=True)
def create_erasure(
    name: str, data: JSONBody[ErasureCreate], caller: Caller, database: Database, secret: Secret
) -> ErasureDone:
    """Answers when the rows are gone: files and free space follow, and `GET /v1/erasures/{id}` tells how far it is."""
    with database.read() as session:
        assistant = visible(session, caller, name)
        subject = resolve(session, secret.value, assistant, Named(**data.model_dump(exclude={"dry_run"})))
        if data.dry_run:
            would = erasing.preview(session, assistant, subject)
            return ErasureDone(erasure=None, consequences=ConsequencesRead(**asdict(would)))
    made, done = erasing.erase(database, assistant, subject, actor=caller.actor)
    with database.read() as session:
        return ErasureDone(erasure=ErasureRead.of(session, made), consequences=ConsequencesRead(**asdict(done)))


@get("/v1/assistants/{name:str}/erasures", guards=[may("operate")], sync_to_thread=True)
def list_erasures(
    name: str,
    caller: Caller,
    database: Database,
    after: Annotated[str | None, Parameter(max_length=40)] = None,
    limit: Annotated[int, Parameter(ge=1, le=200)] = 50,
) -> list[ErasureRead]:
    """The newest, but first of all those that aren't complete. To read on, send the last one's id as `after`."""
    with database.read() as session:
        assistant = visible(session, caller, name)
        return [ErasureRead.of(session, one) for one in erasing.list_erasures(session, assistant, limit, after)]


@get("/v1/erasures/{erasure_id:str}", guards=[may("operate")], sync_to_thread=True)
def get_erasure(erasure_id: str, caller: Caller, database: Database) -> ErasureRead:
    with database.read() as session:
        found = erasing.get_erasure(session, erasure_id)
        if not caller.sees(session.get_one(Assistant, found.assistant_id)):
            raise NotFound(f"No erasure '{erasure_id}': `burnish erasures` lists them.", param="id")
        return ErasureRead.of(session, found)
