"""Receipts: what became of a piece of feedback, and taking it back. Whoever holds one needs no key."""

from datetime import datetime
from typing import Any

from feedback.client.calls import Call, Told, one, path
from feedback.client.resource import Resource, S, asks


class Accepted(Told):
    id: str
    receipt: str
    status: str


class Fate(Told):
    id: str
    kind: str
    status: str
    """received, in_review, declined, replaced; used, learned, live; of a report: resolved."""
    detail: str
    """The same in a sentence."""
    note: str | None
    """A reviewer's words for the giver."""
    created_at: datetime


class Withdrawal(Told):
    erasure: str
    state: str
    withdrawn_at: datetime


class Receipt(Resource[S]):
    """What feedback is answered with. Keep `token`: whoever has it may ask for it, and take it back."""

    def __init__(self, sender: S, accepted: Accepted) -> None:
        super().__init__(sender)
        self.id = accepted.id
        self.token = accepted.receipt
        self.status = accepted.status

    def __repr__(self) -> str:
        return f"Receipt(id={self.id!r}, status={self.status!r})"

    @asks
    def look_up(self) -> Call[Fate]:
        """What became of it."""
        return look_up(self.token)

    @asks
    def withdraw(self) -> Call[Withdrawal]:
        """Take it back for good."""
        return withdraw(self.token)


class Receipts(Resource[S]):
    """By the token of a receipt that was kept."""

    @asks
    def look_up(self, receipt: Receipt[Any] | str) -> Call[Fate]:
        return look_up(token_of(receipt))

    @asks
    def withdraw(self, receipt: Receipt[Any] | str) -> Call[Withdrawal]:
        return withdraw(token_of(receipt))


def look_up(token: str) -> Call[Fate]:
    return Call("GET", path("/v1/feedback/{}", token), one(Fate))


def withdraw(token: str) -> Call[Withdrawal]:
    return Call("DELETE", path("/v1/feedback/{}", token), one(Withdrawal))


def token_of(receipt: Receipt[Any] | str) -> str:
    return receipt if isinstance(receipt, str) else receipt.token
