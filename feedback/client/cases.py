"""Cases: what was reported about replies, who looks into it, what the reporters are told; for reviewers."""

from datetime import datetime
from typing import Any, Literal

from feedback.client.calls import Call, Page, Paged, Told, given, id_of, one, path
from feedback.client.resource import Resource, S, asks, lists

Status = Literal["open", "investigating", "resolved"]
Outcome = Literal["upheld", "dismissed"]


class Report(Told):
    id: str
    category: str
    comment: str | None
    contributor: str | None
    status: str
    created_at: datetime


class Case(Told):
    id: str
    category: str
    status: str
    outcome: str | None
    assignee: str | None
    answer: str | None
    notes: list[dict[str, Any]]
    reports: list[Report]
    """The newest; `reports_total` says how many there are."""
    reports_total: int
    completion_id: str | None
    choice: int
    conversation: list[dict[str, str]]
    reply: str
    created_at: datetime
    resolved_at: datetime | None


class Cases(Resource[S]):
    @asks
    def get(self, case: Case | str) -> Call[Case]:
        return Call("GET", path("/v1/cases/{}", id_of(case)), one(Case))

    @asks
    def take(self, case: Case | str, *, note: str | None = None, take_over: bool = False) -> Call[Case]:
        """Look into it; `take_over`: even if somebody else does."""
        return _change(case, status="investigating", note=note, take_over=take_over)

    @asks
    def resolve(
        self, case: Case | str, outcome: Outcome, *, answer: str | None = None, note: str | None = None
    ) -> Call[Case]:
        """`answer` is what every reporter is told."""
        return _change(case, status="resolved", outcome=outcome, answer=answer, note=note)

    @asks
    def reopen(self, case: Case | str, *, note: str | None = None) -> Call[Case]:
        """Look again, or hand it back."""
        return _change(case, status="open", note=note)

    @asks
    def note(self, case: Case | str, note: str, *, category: str | None = None) -> Call[Case]:
        """Add a note for other reviewers, or say what it is about after all."""
        return _change(case, note=note, category=category)

    @lists
    def list(
        self,
        assistant: str,
        *,
        status: Status | None = None,
        category: str | None = None,
        mine: bool = False,
        page_size: int = 50,
    ) -> Paged[Case]:
        """The oldest first."""
        where = path("/v1/assistants/{}/cases", assistant)
        wanted = given(status=status, category=category, mine=mine, limit=page_size)
        return Paged(lambda after: Call("GET", where, one(Page[Case]), params=wanted | given(after=after)))


def _change(case: Case | str, **change: Any) -> Call[Case]:
    return Call("POST", path("/v1/cases/{}", id_of(case)), one(Case), given(**change))
