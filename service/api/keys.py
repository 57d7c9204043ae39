"""For admins: API keys, made once, shown once. A key that is limited to assistants has a say over those keys alone that
see nothing else."""

from datetime import datetime
from typing import Annotated

from litestar import delete, get, post
from litestar.params import JSONBody, Parameter
from pydantic import BaseModel, Field
from sqlmodel import Session

from feedback import keys
from feedback.database import Database
from feedback.keys import Caller
from feedback.models import ApiKey
from feedback.states import Role
from service.api.lists import Page
from service.api.strict_body import StrictBody
from service.auth import may


class KeyCreate(StrictBody):
    name: str = Field(max_length=100, description="Who or what it is for.")
    role: Role = Field(Role.CHAT, description="What it may do.")
    assistants: list[str] = Field([], max_length=1000, description="All that it may see; none: everything.")


class KeyRead(BaseModel):
    id: str
    name: str
    role: Role
    prefix: str
    assistants: list[str]
    created_at: datetime
    revoked_at: datetime | None


class KeyMade(KeyRead):
    key: str = Field(description="Its text, told this once.")


@post("/v1/keys", guards=[may("administer")], status_code=201, sync_to_thread=True)
def create_key(data: JSONBody[KeyCreate], caller: Caller, database: Database) -> KeyMade:
    with database.write() as session:
        key, text = keys.create(session, data.name, data.role, data.assistants, actor=caller.actor, by=caller)
        (made,) = read_keys(session, [key])
    return KeyMade(**made.model_dump(), key=text)


@get("/v1/keys", guards=[may("administer")], sync_to_thread=True)
def list_keys(
    caller: Caller,
    database: Database,
    after: Annotated[int | None, Parameter(ge=1, lt=2**31)] = None,
    limit: Annotated[int, Parameter(ge=1, le=200)] = 50,
) -> Page[KeyRead]:
    """The newest first."""
    with database.read() as session:
        found = keys.newest_keys(session, caller, before=after, limit=limit + 1)
        return Page.of(read_keys(session, found[:limit]), has_more=len(found) > limit)


@delete("/v1/keys/{key_id:int}", guards=[may("administer")], sync_to_thread=True)
def revoke_key(key_id: int, caller: Caller, database: Database) -> None:
    """It opens nothing from now on; who is signed in with it isn't any more."""
    with database.write() as session:
        keys.revoke(session, key_id, actor=caller.actor, by=caller)


def read_keys(session: Session, found: list[ApiKey]) -> list[KeyRead]:
    limits = keys.limits_of(session, found)
    return [
        KeyRead(
            id=str(key.id),
            name=key.name,
            role=key.role,
            prefix=key.prefix,
            assistants=limits[key.id],
            created_at=key.created_at,
            revoked_at=key.revoked_at,
        )
        for key in found
    ]
