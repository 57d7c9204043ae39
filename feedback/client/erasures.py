"""Erasures, for operators: a person's words, a conversation or a piece of feedback go for good."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from feedback.client.calls import Call, Told, given, id_of, many, one, path
from feedback.client.resource import Resource, S, asks


class Erasure(Told):
    id: str
    assistant: str
    kind: str
    subject_sha256: str
    state: str
    """rows_gone, files_gone, complete."""
    counts: dict[str, int]
    actor: str
    created_at: datetime
    files_gone_at: datetime | None
    completed_at: datetime | None


class Consequences(Told):
    """What went, or would go; the datasets and versions that had it; the runs that were stopped for it."""

    counts: dict[str, int]
    datasets: list[str]
    tainted: list[str]
    cancelled: list[str]
    retrain: bool


class Erased(Told):
    erasure: Erasure | None
    """None: it was only asked what would go."""
    consequences: Consequences


class Erasures(Resource[S]):
    """Each of the three is meant by the name of one thing; with `dry_run` it is only said what would go."""

    @asks
    def person(self, assistant: str, user: str, *, key: str | None = None, dry_run: bool = False) -> Call[Erased]:
        """As the app calls them; `key`: only under keys of this name."""
        return _erase(assistant, dry_run, user=user, key=key)

    @asks
    def contributor(self, assistant: str, contributor: str, *, dry_run: bool = False) -> Call[Erased]:
        """A person, by what the lineage calls them."""
        return _erase(assistant, dry_run, contributor=contributor)

    @asks
    def conversation(self, assistant: str, conversation: str, *, dry_run: bool = False) -> Call[Erased]:
        return _erase(assistant, dry_run, conversation=conversation)

    @asks
    def completion(self, assistant: str, completion: str, *, dry_run: bool = False) -> Call[Erased]:
        """The conversation that it is in."""
        return _erase(assistant, dry_run, completion=completion)

    @asks
    def feedback(self, assistant: str, feedback: str, *, dry_run: bool = False) -> Call[Erased]:
        return _erase(assistant, dry_run, feedback=feedback)

    @asks
    def get(self, erasure: Erasure | str) -> Call[Erasure]:
        """How far it is."""
        return Call("GET", path("/v1/erasures/{}", id_of(erasure)), one(Erasure))

    @asks
    def list(self, assistant: str) -> Call[Sequence[Erasure]]:
        return Call("GET", path("/v1/assistants/{}/erasures", assistant), many(Erasure))


def _erase(assistant: str, dry_run: bool, **named: Any) -> Call[Erased]:
    where = path("/v1/assistants/{}/erasures", assistant)
    return Call("POST", where, one(Erased), {"dry_run": dry_run, **given(**named)})
