"""What goes with any piece of feedback, how the reply that it is about is addressed, and how it is sent.

Each goes under an Idempotency-Key of its own, or one that is given: so a repeated one is stored once. Leaves out the
kinds (feedback.py) and choices between blind replies (comparisons.py).
"""

import secrets
from collections.abc import Sequence
from typing import Any, TypedDict

from feedback.client.calls import Call, readable
from feedback.client.chat import Completion, Reply
from feedback.client.receipts import Accepted, Receipt
from feedback.client.resource import S

About = Completion | Reply | str | tuple[str, int]
"""A reply; a completion's first one; the id of a completion, or an id and which of its replies."""


class Giving(TypedDict, total=False):
    """`user`: who gives it, if not who chatted; `training` False: never learn from it."""

    tags: Sequence[str]
    user: str
    anonymous: bool
    training: bool
    idempotency_key: str


class Aside(Giving, total=False):
    comment: str


def address(about: About) -> dict[str, Any]:
    """
    >>> address("chatcmpl-1"), address(("chatcmpl-1", 2))
    ({'completion_id': 'chatcmpl-1', 'choice': 0}, {'completion_id': 'chatcmpl-1', 'choice': 2})
    """
    match about:
        case Reply():
            return {"completion_id": about.completion_id, "choice": about.index}
        case Completion():
            return {"completion_id": about.id, "choice": 0}
        case str():
            return {"completion_id": about, "choice": 0}
    completion_id, index = about
    return {"completion_id": completion_id, "choice": index}


def give(sender: S, where: str, what: dict[str, Any], aside: Giving) -> Call[Receipt[S]]:
    rest: dict[str, Any] = {**aside}
    key = rest.pop("idempotency_key", None) or secrets.token_hex(16)
    if "tags" in rest:
        rest["tags"] = [*rest["tags"]]

    def read(content: bytes) -> Receipt[S]:
        return Receipt(sender, readable(content, Accepted.model_validate))

    return Call("POST", where, read, {**what, **rest}, headers={"idempotency-key": key}, repeats=True)
