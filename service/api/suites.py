"""For operators: the suites that every candidate of an assistant is asked."""

from datetime import datetime
from typing import Self

from litestar import delete, get, put
from litestar.params import JSONBody
from pydantic import BaseModel, Field

from feedback.database import Database
from feedback.keys import Caller
from feedback.suites import registry
from feedback.suites.formats import read_suite
from feedback.suites.kinds import SuiteKind
from feedback.suites.models import Suite
from service.api.lists import Page
from service.api.strict_body import StrictBody
from service.auth import may, visible


class SuitePut(StrictBody):
    content: str = Field(description="JSONL of the kind's items, or a public set as it comes.")
    kind: SuiteKind | None = Field(None, description="Told by the content where it can be.")
    licence: str | None = Field(None, max_length=100)


class SuiteRead(BaseModel):
    name: str
    kind: SuiteKind
    items: int
    sha256: str
    licence: str | None
    created_at: datetime

    @classmethod
    def of(cls, suite: Suite) -> Self:
        return cls.model_validate(suite, from_attributes=True)


@get("/v1/assistants/{name:str}/suites", guards=[may("operate")], sync_to_thread=True)
def list_suites(name: str, caller: Caller, database: Database) -> Page[SuiteRead]:
    with database.read() as session:
        found = registry.list_suites(session, visible(session, caller, name))
        return Page[SuiteRead](data=[SuiteRead.of(suite) for suite in found])


@put("/v1/assistants/{name:str}/suites/{suite:str}", guards=[may("operate")], sync_to_thread=True)
def put_suite(name: str, suite: str, data: JSONBody[SuitePut], caller: Caller, database: Database) -> SuiteRead:
    content = data.content.encode()
    read = read_suite(content, data.kind)
    with database.write() as session:
        assistant = visible(session, caller, name)
        kept = registry.add(session, assistant, suite, content, licence=data.licence, actor=caller.actor, read=read)
        return SuiteRead.of(kept)


@delete("/v1/assistants/{name:str}/suites/{suite:str}", guards=[may("operate")], sync_to_thread=True)
def remove_suite(name: str, suite: str, caller: Caller, database: Database) -> None:
    with database.write() as session:
        registry.remove(session, visible(session, caller, name), suite, actor=caller.actor)
