"""For everybody, without a key: what changed in the assistants whose policy says that strangers may read it."""

from datetime import datetime
from typing import Annotated

from litestar import get
from litestar.params import Parameter
from pydantic import BaseModel

from feedback import releases
from feedback.changelog import Change, changelog, find_public, list_public
from feedback.database import Database
from service.api.lists import Page


class PublicAssistant(BaseModel):
    name: str
    live: str
    live_since: datetime


@get("/v1/changes", sync_to_thread=True)
def list_changes(database: Database) -> Page[PublicAssistant]:
    """The assistants whose changes are public."""
    found = []
    with database.read() as session:
        for assistant in list_public(session):
            live = releases.live(session, assistant)
            since = live.release.live_at or live.release.created_at
            found.append(
                PublicAssistant(name=assistant.name, live=f"{assistant.name}@{live.version.number}", live_since=since)
            )
    return Page[PublicAssistant](data=found)


@get("/v1/changes/{name:str}", sync_to_thread=True)
def get_changes(
    name: str, database: Database, after: str | None = None, limit: Annotated[int, Parameter(ge=1, le=20)] = 10
) -> Page[Change]:
    """As `/v1/assistants/{name}/changelog` has them. An assistant that isn't public is as one that there isn't."""
    with database.read() as session:
        found = changelog(session, find_public(session, name), limit + 1, after)
    return Page[Change].of(found[:limit], has_more=len(found) > limit)
