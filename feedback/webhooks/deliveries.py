"""What is on its way to webhooks: take what is due, sign it, note how it went.

A delivery may arrive twice (a service that dies after sending can't note it); its id stays, so that a receiver can
tell. Signed as Standard Webhooks are (standardwebhooks.com): HMAC-SHA256 over id, time and body. Leaves out sending it.
"""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, update
from sqlmodel import Session, col, select

from feedback.columns import now
from feedback.database import Database
from feedback.errors import NotFound
from feedback.webhooks.models import Webhook, WebhookDelivery

RETRY_SECONDS = (5, 60, 300, 1_800, 7_200, 21_600, 43_200, 86_400)
"""How long after each attempt that failed the next one comes; then it is given up."""
CLAIM_SECONDS = 60
"""For so long nobody else sends what one service has taken."""
KEPT_DAYS = 30
AT_ONCE = 20


@dataclass(frozen=True)
class Parcel:
    delivery_id: int
    url: str
    headers: dict[str, str]
    body: bytes


def take_due(database: Database) -> list[Parcel]:
    """What is due, for this caller alone, signed."""
    at = now()
    due = (
        select(WebhookDelivery.id)
        .where(col(WebhookDelivery.next_at) <= at)
        .order_by(col(WebhookDelivery.next_at))
        .limit(AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    with database.read() as session:  # most looks find nothing, and nobody has to wait for them
        if session.exec(select(WebhookDelivery.id).where(col(WebhookDelivery.next_at) <= at).limit(1)).first() is None:
            return []
    with database.write() as session:
        ids = list(session.exec(due))
        if not ids:
            return []
        session.connection().execute(
            update(WebhookDelivery)
            .where(col(WebhookDelivery.id).in_(ids))
            .values(next_at=at + timedelta(seconds=CLAIM_SECONDS), attempts=col(WebhookDelivery.attempts) + 1)
        )
        found = session.exec(
            select(WebhookDelivery, Webhook)
            .join(Webhook, col(Webhook.id) == col(WebhookDelivery.webhook_id))
            .where(col(WebhookDelivery.id).in_(ids))
        ).all()
        return [_parcel(delivery, hook, int(at.timestamp())) for delivery, hook in found]


def note(database: Database, delivery_id: int, *, arrived: bool, answer: str) -> None:
    """How an attempt went; a failed one is tried again later, or given up after the last."""
    with database.write() as session:
        delivery = session.get(WebhookDelivery, delivery_id, with_for_update=True)
        if delivery is None:
            return  # its webhook was removed meanwhile
        delivery.answer = answer[:200]
        if arrived:
            delivery.delivered_at, delivery.next_at = now(), None
        elif delivery.attempts > len(RETRY_SECONDS):
            delivery.next_at = None
        else:
            delivery.next_at = now() + timedelta(seconds=RETRY_SECONDS[delivery.attempts - 1])
        session.add(delivery)


def forget_old(session: Session) -> None:
    """What arrived or was given up long ago."""
    old = now() - timedelta(days=KEPT_DAYS)
    over = (col(WebhookDelivery.next_at).is_(None), col(WebhookDelivery.created_at) < old)
    session.connection().execute(delete(WebhookDelivery).where(*over))


def list_deliveries(
    session: Session, hook: Webhook, *, after: str | None = None, limit: int = 20
) -> list[WebhookDelivery]:
    """The newest first; `after`: those older than this one."""
    chosen = select(WebhookDelivery).where(WebhookDelivery.webhook_id == hook.id)
    if after is not None:
        last = session.exec(chosen.where(WebhookDelivery.public_id == after)).first()
        if last is None:
            raise NotFound(f"The webhook has no delivery '{after}', or not any more.", param="after")
        chosen = chosen.where(col(WebhookDelivery.id) < last.id)
    return list(session.exec(chosen.order_by(col(WebhookDelivery.id).desc()).limit(limit)))


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """
    The specification's own example:

    >>> secret, message_id = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek"
    >>> signature(secret, message_id, 1614265330, b'{"test": 2432232314}')
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def _parcel(delivery: WebhookDelivery, hook: Webhook, timestamp: int) -> Parcel:
    body = json.dumps(delivery.payload).encode()
    headers = {
        "content-type": "application/json",
        "user-agent": "burnish-webhooks",
        "webhook-id": delivery.public_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(hook.secret, delivery.public_id, timestamp, body),
    }
    return Parcel(delivery.id, hook.url, headers, body)
