"""For apps: the conversations of one of their people (`user`), or of whoever holds the key; listed, read, renamed,
taken away and taken out for good."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

from litestar import Response, delete, get, post
from litestar.params import JSONBody, Parameter
from litestar.response import Stream
from pydantic import BaseModel, Field

from feedback import own_conversations
from feedback.collect.intake import MAX_USER
from feedback.database import Database
from feedback.errors import InvalidInput
from feedback.keys import Caller
from feedback.models import Erasure
from feedback.own_conversations import MOST_TITLE, OwnConversation, OwnThread, Person
from feedback.states import ErasureState
from service.api.lists import Page
from service.api.strict_body import StrictBody
from service.auth import may, visible
from service.secret import Secret

User = Annotated[str | None, Parameter(max_length=MAX_USER)]


class ConversationChange(StrictBody):
    title: str = Field(max_length=MOST_TITLE, description="Empty: the words that it began with.")


class ErasedRead(BaseModel):
    erasure: str
    state: ErasureState
    erased_at: datetime

    @classmethod
    def of(cls, row: Erasure) -> "ErasedRead":
        return cls(erasure=row.public_id, state=row.state, erased_at=row.created_at)


@get("/v1/conversations", guards=[may("chat")], sync_to_thread=True)
def list_conversations(
    caller: Caller,
    database: Database,
    secret: Secret,
    user: User = None,
    model: str | None = None,
    search: Annotated[str | None, Parameter(max_length=200)] = None,
    after: Annotated[str | None, Parameter(max_length=200)] = None,
    limit: Annotated[int, Parameter(ge=1, le=100)] = 30,
) -> Page[OwnConversation]:
    """The newest first."""
    with database.read() as session:
        found = own_conversations.list_own(
            session,
            Person(secret.value, caller, user),
            assistant=visible(session, caller, model) if model is not None else None,
            search=search,
            after=after,
            limit=limit + 1,
        )
    return Page[OwnConversation].of(found[:limit], has_more=len(found) > limit)


@get("/v1/conversations/export", guards=[may("chat")], sync_to_thread=True)
def export_conversations(caller: Caller, database: Database, secret: Secret, user: User = None) -> Response[Any]:
    """Everything, a conversation a line (JSONL)."""
    return Stream(export_lines(database, Person(secret.value, caller, user)), media_type="application/jsonl")


@get("/v1/conversations/{conversation:str}", guards=[may("chat")], sync_to_thread=True)
def get_conversation(
    conversation: str, caller: Caller, database: Database, secret: Secret, user: User = None
) -> OwnThread:
    person = Person(secret.value, caller, user)
    with database.read() as session:
        return own_conversations.read(session, person, own_conversations.get_own(session, person, conversation))


@post("/v1/conversations/{conversation:str}", guards=[may("chat")], status_code=200, sync_to_thread=True)
def rename_conversation(
    conversation: str,
    data: JSONBody[ConversationChange],
    caller: Caller,
    database: Database,
    secret: Secret,
    user: User = None,
) -> OwnConversation:
    person = Person(secret.value, caller, user)
    with database.write() as session:
        own_conversations.rename(session, person, conversation, data.title)
    with database.read() as session:
        return own_conversations.summary(session, person, own_conversations.get_own(session, person, conversation))


@delete("/v1/conversations/{conversation:str}", guards=[may("chat")], status_code=200, sync_to_thread=True)
def erase_conversation(
    conversation: str, caller: Caller, database: Database, secret: Secret, user: User = None
) -> ErasedRead:
    erasure, _ = own_conversations.erase_own(database, Person(secret.value, caller, user), conversation)
    return ErasedRead.of(erasure)


@delete("/v1/conversations", guards=[may("chat")], status_code=200, sync_to_thread=True)
def erase_all(caller: Caller, database: Database, secret: Secret, user: User = None) -> list[ErasedRead]:
    """Everything of one person, what they said about replies too; an erasure an assistant that they talked to."""
    if not user:
        raise InvalidInput("`user` says whose: without it nothing is taken out.", param="user")
    gone = own_conversations.erase_person(database, Person(secret.value, caller, user))
    return [ErasedRead.of(one) for one in gone]


def export_lines(database: Database, person: Person, *, beginning: str | None = None) -> Iterator[bytes]:
    """Short transactions, a conversation each: whoever reads slowly holds nothing up."""
    below = None
    while True:
        with database.read() as session:
            found = own_conversations.next_own(session, person, below=below, beginning=beginning)
            if found is None:
                return
            below = found.id
            thread = own_conversations.read(session, person, found)
        yield thread.model_dump_json().encode() + b"\n"
