"""Who is told of what, and what is on its way to them."""

from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field

from feedback.columns import Json, Table, json_column, json_list, moment, primary_key, reference


class Webhook(Table, table=True):
    """An address that is told of an assistant's events. Its secret signs, so that it can't be kept as a hash."""

    __tablename__ = "webhook"
    id: int = primary_key()
    public_id: str = Field(unique=True, max_length=40)
    assistant_id: int = reference("assistant.id")
    url: str = Field(max_length=2000)
    secret: str = Field(max_length=80)
    events: list[str] = json_list()  # beginnings of events' names; none: all
    actor: str = Field(max_length=120)
    created_at: datetime = moment()


class WebhookDelivery(Table, table=True):
    """An event for one webhook; kept after it arrived, so that an operator sees that it did."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (Index("ix_webhook_delivery_due", "next_at", "delivered_at"),)
    id: int = primary_key()
    public_id: str = Field(unique=True, max_length=40)  # the same in every attempt: tells a repeated one
    webhook_id: int = reference("webhook.id")
    event: str = Field(max_length=40)
    payload: Json = json_column()
    attempts: int = 0
    next_at: datetime | None = moment(nullable=True)  # None: it arrived, or was given up
    delivered_at: datetime | None = moment(nullable=True)
    answer: str | None = Field(default=None, max_length=200)  # of the last attempt
    created_at: datetime = moment(index=True)
