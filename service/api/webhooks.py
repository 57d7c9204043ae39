"""For operators: who is told of an assistant's runs and releases."""

from datetime import datetime
from typing import Annotated, Self

from litestar import delete, get, post
from litestar.params import JSONBody, Parameter
from pydantic import BaseModel, Field

from feedback.database import Database
from feedback.keys import Caller
from feedback.webhooks import deliveries, hooks
from feedback.webhooks.models import Webhook, WebhookDelivery
from service.api.lists import Page
from service.api.strict_body import StrictBody
from service.auth import may, visible


class WebhookCreate(StrictBody):
    url: str = Field(max_length=2000)
    events: list[str] = Field([], max_length=50, description="Beginnings of events' names; none: all.")


class WebhookRead(BaseModel):
    id: str
    url: str
    events: list[str]
    created_at: datetime
    secret: str | None = Field(None, description="Told once, when it is made: signs what comes (Standard Webhooks).")

    @classmethod
    def of(cls, hook: Webhook, *, secret: bool = False) -> Self:
        return cls(
            id=hook.public_id,
            url=hook.url,
            events=hook.events,
            created_at=hook.created_at,
            secret=hook.secret if secret else None,
        )


class DeliveryRead(BaseModel):
    id: str
    event: str
    attempts: int
    delivered_at: datetime | None
    next_at: datetime | None
    answer: str | None
    created_at: datetime

    @classmethod
    def of(cls, one: WebhookDelivery) -> Self:
        return cls.model_validate({**one.model_dump(), "id": one.public_id})


@post("/v1/assistants/{name:str}/webhooks", guards=[may("operate")], status_code=201, sync_to_thread=True)
def create_webhook(name: str, data: JSONBody[WebhookCreate], caller: Caller, database: Database) -> WebhookRead:
    with database.write() as session:
        hook = hooks.add(session, visible(session, caller, name), data.url, data.events, actor=caller.actor)
        return WebhookRead.of(hook, secret=True)


@get("/v1/assistants/{name:str}/webhooks", guards=[may("operate")], sync_to_thread=True)
def list_webhooks(name: str, caller: Caller, database: Database) -> Page[WebhookRead]:
    with database.read() as session:
        found = hooks.list_hooks(session, visible(session, caller, name))
        return Page[WebhookRead](data=[WebhookRead.of(hook) for hook in found])


@get("/v1/assistants/{name:str}/webhooks/{webhook_id:str}/deliveries", guards=[may("operate")], sync_to_thread=True)
def list_deliveries(
    name: str,
    webhook_id: str,
    caller: Caller,
    database: Database,
    after: Annotated[str | None, Parameter(max_length=40)] = None,
    limit: Annotated[int, Parameter(ge=1, le=200)] = 20,
) -> Page[DeliveryRead]:
    """The newest first."""
    with database.read() as session:
        hook = hooks.get_hook(session, visible(session, caller, name), webhook_id)
        found = deliveries.list_deliveries(session, hook, after=after, limit=limit + 1)
    return Page.of([DeliveryRead.of(one) for one in found[:limit]], has_more=len(found) > limit)


@delete("/v1/assistants/{name:str}/webhooks/{webhook_id:str}", guards=[may("operate")], sync_to_thread=True)
def remove_webhook(name: str, webhook_id: str, caller: Caller, database: Database) -> None:
    with database.write() as session:
        hooks.remove(session, visible(session, caller, name), webhook_id, actor=caller.actor)
