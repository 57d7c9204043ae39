"""Blind comparisons: two replies to one message, stored as the choices of one completion, `cmp-…`.

Which version wrote which stands in the replies' rows and is told to nobody who may choose; a choice between them is an
ordinary preference. Leaves out who writes them (service/comparisons.py).
"""

import secrets
from typing import Any, Literal

from feedback.collect import intake
from feedback.collect.intake import Accepted, Given
from feedback.database import Database
from feedback.errors import NotFound
from feedback.keys import Caller
from feedback.states import FeedbackKind

Choice = Literal[0, 1, "good", "bad"]
"""Which one is better, or that both are good, or bad."""
_PREFIX = "cmp-"


def make_id() -> str:
    return f"{_PREFIX}{secrets.token_hex(12)}"


def is_comparison(completion_id: str) -> bool:
    return completion_id.startswith(_PREFIX)


def choose(
    database: Database,
    secret: bytes,
    caller: Caller,
    comparison_id: str,
    choice: Choice,
    *,
    idempotency_key: str | None = None,
    **more: Any,
) -> Accepted:
    """Store a choice; `more` is what else `intake.Given` has. Raises as `intake.receive` does."""
    if is_comparison(comparison_id):
        chosen, value = as_preference(choice)
        given = Given(comparison_id, FeedbackKind.PREFERENCE, chosen, value, **more)
        try:
            return intake.receive(database, secret, caller, given, idempotency_key=idempotency_key)
        except NotFound:
            pass
    raise NotFound(f"No comparison '{comparison_id}'.", param="comparison_id", code="comparison_not_found")


def as_preference(choice: Choice) -> tuple[int, dict[str, Any]]:
    """The reply that a choice addresses, and a preference's value.

    >>> as_preference(1), as_preference("bad")
    ((1, {'rejected': {'choice': 0}}), (0, {'tie': 'bad', 'other': {'choice': 1}}))
    """
    if choice in ("good", "bad"):
        return 0, {"tie": choice, "other": {"choice": 1}}
    chosen = int(choice)
    return chosen, {"rejected": {"choice": 1 - chosen}}
