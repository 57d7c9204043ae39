"""An assistant's versions, for operators: how they were judged, who serves, and moving that on or back."""

from collections.abc import Sequence
from datetime import datetime

from feedback.client.calls import Call, Told, given, many, maybe, one, path
from feedback.client.resource import Resource, S, asks


class Version(Told):
    version: str
    sha256: str
    run_id: str | None
    dataset: int | None
    verdict: str | None
    """PROMOTE, REJECT, INCONCLUSIVE or BLOCKED."""
    reasons: list[str]
    release: str | None
    """proposed, shadow, canary, live, holdout, retired, declined or vetoed."""
    live_since: datetime | None
    tainted_at: datetime | None
    tainted_reason: str | None
    created_at: datetime

    @property
    def number(self) -> int:
        """What `promote` and `veto` take."""
        return int(self.version.rpartition("@")[2])


class Release(Told):
    """What was moved, and what serves now."""

    live: str
    replaced: str
    reason: str
    version: str
    state: str
    percent: int
    approved_by: list[str]


class Trial(Told):
    """A version beside another: what people and measurements say so far, and what is next."""

    version: str
    beside: str
    state: str
    percent: int
    since: datetime
    next: str
    why: str
    replies: int
    replies_beside: int
    choices_won: int
    choices_lost: int
    ratings_won: int
    ratings_lost: int
    reports: int
    reports_beside: int
    failed: int
    failed_beside: int
    slower: int
    timed: int
    e_value_better: float
    e_value_worse: float


class Versions(Resource[S]):
    @asks
    def list(self, assistant: str) -> Call[Sequence[Version]]:
        return Call("GET", path("/v1/assistants/{}/versions", assistant), many(Version))

    @asks
    def promote(
        self,
        assistant: str,
        version: int,
        *,
        reason: str | None = None,
        force: bool = False,
        at_once: bool = False,
    ) -> Call[Release]:
        """`at_once`: without the trial that the policy asks for; `force`: whatever the verdict was."""
        body = {"version": version, "force": force, "at_once": at_once, **given(reason=reason)}
        return Call("POST", path("/v1/assistants/{}/promote", assistant), one(Release), body)

    @asks
    def roll_back(
        self,
        assistant: str,
        *,
        version: int | None = None,
        reason: str | None = None,
        accept_tainted: bool = False,
    ) -> Call[Release]:
        """`version`: the one to take back; refused if another serves."""
        body = {"accept_tainted": accept_tainted, **given(version=version, reason=reason)}
        return Call("POST", path("/v1/assistants/{}/rollback", assistant), one(Release), body)

    @asks
    def veto(self, assistant: str, version: int, *, reason: str | None = None) -> Call[Release]:
        body = {"version": version, **given(reason=reason)}
        return Call("POST", path("/v1/assistants/{}/veto", assistant), one(Release), body)

    @asks
    def trial(self, assistant: str) -> Call[Trial | None]:
        """None: one version serves alone."""
        return Call("GET", path("/v1/assistants/{}/trial", assistant), maybe(Trial))
