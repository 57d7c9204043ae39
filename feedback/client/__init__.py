"""A client for apps: `Burnish` waits for answers, `AsyncBurnish` is awaited; all else is the same. docs/client.md.

Needs httpx and pydantic alone: nothing of the service, the database or torch is imported.
"""

from feedback.client.burnish import AsyncBurnish, Burnish
from feedback.client.chat import Completion, Message, Piece, Reply
from feedback.client.comparisons import Comparison
from feedback.client.errors import (
    BurnishError,
    Forbidden,
    InvalidInput,
    NoAnswerInTime,
    NotFound,
    NotReached,
    Refused,
    ServiceFailed,
    TimedOut,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    Unreadable,
)
from feedback.client.guidelines import Guidelines, GuidelinesDraft
from feedback.client.receipts import Fate, Receipt
from feedback.client.runs import Run
from feedback.client.senders import AsyncSender, SyncSender

__all__ = [
    "AsyncBurnish",
    "AsyncSender",
    "Burnish",
    "BurnishError",
    "Comparison",
    "Completion",
    "Fate",
    "Forbidden",
    "Guidelines",
    "GuidelinesDraft",
    "InvalidInput",
    "Message",
    "NoAnswerInTime",
    "NotFound",
    "NotReached",
    "Piece",
    "Receipt",
    "Refused",
    "Reply",
    "Run",
    "ServiceFailed",
    "SyncSender",
    "TimedOut",
    "TooLarge",
    "TooManyRequests",
    "Unauthenticated",
    "Unavailable",
    "Unreadable",
]
