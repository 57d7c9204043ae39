"""Feedback: a method a kind; the answer is its receipt. For reviewers, the list of all that was said."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Literal, Unpack

from feedback.client.calls import Call, Told, given, many, one, path
from feedback.client.giving import About, Aside, Giving, address, give
from feedback.client.receipts import Receipt
from feedback.client.resource import Resource, S, asks

Category = Literal["abuse", "bias", "privacy", "wrong", "other"]


class Question(Told):
    id: str
    text: str
    kind: str
    """csat: an answer is 1 to 5; text: words; choice: one of the options."""
    options: list[str]


class Form(Told):
    """What may be said about a reply."""

    kinds: list[str]
    tags: list[str]
    """The tags that it may have; none: any."""
    anonymous: bool
    report_categories: list[str]
    survey: list[Question] | None
    """The questions, when they are due."""


class FeedbackRow(Told):
    """What somebody said, as reviewers see it."""

    id: str
    kind: str
    value: dict[str, Any]
    comment: str | None
    tags: list[str]
    status: str
    status_reason: str | None
    source: str | None
    created_at: datetime


class Feedback(Resource[S]):
    @asks
    def rate(self, reply: About, thumb: Literal[1, -1], **aside: Unpack[Aside]) -> Call[Receipt[S]]:
        return self._give(reply, "rating", thumb, aside)

    @asks
    def stars(self, reply: About, stars: int, **aside: Unpack[Aside]) -> Call[Receipt[S]]:
        """A rating of 1 to 5."""
        return self._give(reply, "rating", {"stars": stars}, aside)

    @asks
    def comment(self, reply: About, words: str, **aside: Unpack[Giving]) -> Call[Receipt[S]]:
        return self._give(reply, "comment", words, aside)

    @asks
    def correct(
        self,
        reply: About,
        content: str,
        *,
        key_facts: Sequence[str] = (),
        expires_at: date | None = None,
        **aside: Unpack[Aside],
    ) -> Call[Receipt[S]]:
        """`content` is the right reply, `key_facts` what one must contain, `expires_at` when it stops being right."""
        until = expires_at.isoformat() if expires_at else None
        value = {"content": content, "key_facts": [*key_facts], **given(expires_at=until)}
        return self._give(reply, "correction", value, aside)

    @asks
    def prefer(self, chosen: About, rejected: About, **aside: Unpack[Aside]) -> Call[Receipt[S]]:
        """One answer rather than another to the same message."""
        return self._give(chosen, "preference", {"rejected": address(rejected)}, aside)

    @asks
    def tie(self, one: About, other: About, both: Literal["good", "bad"], **aside: Unpack[Aside]) -> Call[Receipt[S]]:
        """Two answers to the same message are as good, or as bad."""
        return self._give(one, "preference", {"tie": both, "other": address(other)}, aside)

    @asks
    def report(self, reply: About, category: Category, **aside: Unpack[Aside]) -> Call[Receipt[S]]:
        """Opens a case for a person; never trains by itself."""
        return self._give(reply, "report", category, aside)

    @asks
    def survey(self, reply: About, answers: Mapping[str, int | str], **aside: Unpack[Aside]) -> Call[Receipt[S]]:
        """Answers by the ids of the form's questions, about the conversation."""
        return self._give(reply, "survey", dict(answers), aside)

    @asks
    def form(self, reply: About, *, user: str | None = None) -> Call[Form]:
        return Call("GET", "/v1/feedback/form", one(Form), params=address(reply) | given(user=user))

    @asks
    def list(self, assistant: str, *, status: str | None = None, limit: int = 50) -> Call[Sequence[FeedbackRow]]:
        """The newest; for reviewers."""
        wanted = given(status=status, limit=limit)
        return Call("GET", path("/v1/assistants/{}/feedback", assistant), many(FeedbackRow), params=wanted)

    def _give(self, about: About, kind: str, value: Any, aside: Giving) -> Call[Receipt[S]]:
        return give(self._sender, "/v1/feedback", {**address(about), "kind": kind, "value": value}, aside)
