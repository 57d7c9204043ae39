"""Assistants: which there are and what serves them, for operators; what changed in one, for everybody who uses it."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from feedback.client.calls import Call, Told, many, path
from feedback.client.resource import Resource, S, asks


class Assistant(Told):
    name: str
    base_model: str
    live: str
    """The version that serves."""
    live_since: datetime
    guidelines_version: int
    review_due: date | None
    review_overdue: bool
    tainted: bool
    policies: dict[str, Any]


class Change(Told):
    """One release, or one that was tried and taken back."""

    at: datetime
    version: str
    title: str
    lines: list[str]


class Assistants(Resource[S]):
    @asks
    def list(self) -> Call[Sequence[Assistant]]:
        return Call("GET", "/v1/assistants", many(Assistant))

    @asks
    def changelog(self, assistant: str) -> Call[Sequence[Change]]:
        """What changed, release by release, the newest first."""
        return Call("GET", path("/v1/assistants/{}/changelog", assistant), many(Change))
