"""What an assistant is for and how it speaks: reviewers read it, operators change it, every version stays."""

from collections.abc import Sequence
from datetime import date, datetime

from feedback.client.calls import Call, Told, many, one, path
from feedback.client.resource import Resource, S, asks


class GuidelinesDraft(Told):
    """All that they say; what is empty leaves no trace in the system prompt."""

    system_prompt: str = ""
    purpose: str = ""
    tone: str = ""
    boundaries: list[str] = []
    sensitive_topics: list[str] = []
    disclaimer: str = ""
    review_due: date | None = None


class Guidelines(GuidelinesDraft):
    version: int
    text: str
    """The system prompt that they make."""
    review_overdue: bool
    created_at: datetime


class GuidelinesBook(Resource[S]):
    @asks
    def get(self, assistant: str) -> Call[Guidelines]:
        return Call("GET", path("/v1/assistants/{}/guidelines", assistant), one(Guidelines))

    @asks
    def put(self, assistant: str, guidelines: GuidelinesDraft) -> Call[Guidelines]:
        """Replace all of them. What was got and changed is refused if somebody else has changed them meanwhile."""
        body = guidelines.model_dump(mode="json", include=set(GuidelinesDraft.model_fields))
        made_from = {"version": guidelines.version} if isinstance(guidelines, Guidelines) else {}
        return Call("PUT", path("/v1/assistants/{}/guidelines", assistant), one(Guidelines), body | made_from)

    @asks
    def versions(self, assistant: str) -> Call[Sequence[Guidelines]]:
        """All of them, the newest first."""
        return Call("GET", path("/v1/assistants/{}/guidelines/versions", assistant), many(Guidelines))
