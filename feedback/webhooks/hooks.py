"""Webhooks: add, list, remove; and tell them of an event, in the transaction in which it happens.

An event is thus told of if, and only if, it took place. Leaves out sending (deliveries.py, service/webhooks.py).
"""

import base64
import secrets
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import delete
from sqlmodel import Session, col, select

from feedback import audit
from feedback.columns import now
from feedback.errors import InvalidInput, NotFound
from feedback.models import Assistant
from feedback.webhooks.models import Webhook, WebhookDelivery

EVENTS = {
    "run.succeeded": "a run ended with a version and a verdict",
    "run.failed": "a run failed for good",
    "run.cancelled": "a run was stopped",
    "release.proposed": "a version was judged better and waits for people",
    "release.shadow": "a version began to answer unseen",
    "release.canary": "a version began to serve a share of the conversations, or a larger one",
    "release.live": "a version serves everybody",
    "release.taken_back": "a version on trial was taken back",
    "release.rolled_back": "the version before serves again",
    "release.vetoed": "a proposal was turned down",
    "alert.drift": "what people ask, get or say has changed since the release before",
}
MOST_HOOKS = 20


def add(session: Session, assistant: Assistant, url: str, events: Sequence[str] = (), *, actor: str) -> Webhook:
    """Raises InvalidInput for an address or event that can't be."""
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and parts.hostname and not parts.username and parts.port != 0
    except ValueError:
        fine = False
    if not fine or len(url) > 2000:
        raise InvalidInput(
            f"'{url}' is no address for a webhook: http:// or https://, without a name in it.", param="url"
        )
    unknown = [one for one in events if not any(known.startswith(one) for known in EVENTS)]
    if unknown:
        raise InvalidInput(f"No event is called {', '.join(unknown)}: there are {', '.join(EVENTS)}.", param="events")
    if len(list_hooks(session, assistant)) >= MOST_HOOKS:
        raise InvalidInput(f"'{assistant.name}' has {MOST_HOOKS} webhooks: remove one first.")
    hook = Webhook(
        public_id=f"wh-{secrets.token_hex(12)}",
        assistant_id=assistant.id,
        url=url,
        secret=f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}",
        events=list(events),
        actor=actor,
    )
    session.add(hook)
    session.flush()
    audit.record(session, actor, "webhook.add", hook.public_id, assistant=assistant.name, host=urlsplit(url).hostname)
    return hook


def list_hooks(session: Session, assistant: Assistant) -> list[Webhook]:
    return list(session.exec(select(Webhook).where(Webhook.assistant_id == assistant.id).order_by(col(Webhook.id))))


def get_hook(session: Session, assistant: Assistant, public_id: str) -> Webhook:
    chosen = select(Webhook).where(Webhook.assistant_id == assistant.id, Webhook.public_id == public_id)
    found = session.exec(chosen).first()
    if found is None:
        raise NotFound(f"'{assistant.name}' has no webhook '{public_id}'.", param="webhook_id")
    return found


def remove(session: Session, assistant: Assistant, public_id: str, *, actor: str) -> None:
    """Along with what is still on its way there."""
    hook = get_hook(session, assistant, public_id)
    session.connection().execute(delete(WebhookDelivery).where(col(WebhookDelivery.webhook_id) == hook.id))
    session.delete(hook)
    audit.record(session, actor, "webhook.remove", public_id, assistant=assistant.name)


def tell(session: Session, assistant: Assistant, event: str, **data: Any) -> None:
    """Have every webhook of the assistant that wants it hear of an event. Never message text in `data`."""
    assert event in EVENTS, event
    for hook in list_hooks(session, assistant):
        if hook.events and not any(event.startswith(one) for one in hook.events):
            continue
        told = {"type": event, "timestamp": now().isoformat(), "data": {"assistant": assistant.name, **data}}
        delivery = WebhookDelivery(
            public_id=f"msg-{secrets.token_hex(12)}", webhook_id=hook.id, event=event, payload=told, next_at=now()
        )
        session.add(delivery)
