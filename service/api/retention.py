"""For operators: what an assistant keeps no longer. How long it keeps things is a policy, `retention.message_days`."""

from datetime import datetime
from typing import Annotated

from litestar import get
from litestar.params import Parameter
from pydantic import BaseModel, Field

from feedback import retention
from feedback.assistants import policies
from feedback.database import Database
from feedback.keys import Caller
from service.auth import may, visible

LONGEST_DAYS = 36_500
PORTIONS = 20
"""Of conversations that are looked at; more take too long for somebody who waits."""


class RetentionRead(BaseModel):
    message_days: int | None = Field(description="Days that are asked about; null: for ever.")
    kept_since: datetime | None
    counts: dict[str, int] = Field(description="What is older, rows by table: it goes within the hour.")
    datasets: list[str]
    more: bool = Field(description="There is more than was counted.")


@get("/v1/assistants/{name:str}/retention", guards=[may("operate")], sync_to_thread=True)
def get_retention(
    name: str,
    caller: Caller,
    database: Database,
    message_days: Annotated[int | None, Parameter(ge=1, le=LONGEST_DAYS)] = None,
) -> RetentionRead:
    """What is too old now, or would be if it were kept for `message_days`. Changes nothing."""
    with database.read() as session:
        assistant = visible(session, caller, name)
        since = None if message_days is None else retention.since_days(message_days)
        would = retention.would_erase(session, assistant, since=since, most=PORTIONS)
        days = message_days or policies(assistant).retention.message_days
    return RetentionRead(
        message_days=days, kept_since=would.since, counts=would.counts, datasets=would.datasets, more=would.more
    )
