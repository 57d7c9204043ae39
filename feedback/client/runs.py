"""Training runs, for operators: asked for, followed, stopped, gone on with."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from feedback.client.calls import Call, Page, Paged, Streaming, Told, given, id_of, one, path, unread
from feedback.client.resource import Resource, S, asks, lists, streams


class Progress(Told):
    stage: str
    """load, a method, evaluate, done."""
    step: int
    total_steps: int
    loss: float | None = None
    replay_divergence: float | None = None
    eta_seconds: float | None = None
    tokens_per_second: float | None = None


class Run(Told):
    id: str
    assistant: str
    status: str
    """queued, running, succeeded, failed or cancelled."""
    reason: str
    requested_by: str
    priority: int
    search_trials: int | None
    base_model: str | None
    attempt: int
    waits_for: str | None
    error: str | None
    dataset: int | None
    version: str | None
    verdict: str | None
    progress: Progress | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class RunDetails(Run):
    provenance: dict[str, Any] | None
    """What its newest attempt was made of and where it runs."""


class RunReader:
    """A run each time that it has changed; told again after a pause, it is passed over."""

    def __init__(self) -> None:
        self._newest: Run | None = None

    @property
    def result(self) -> Run:
        if self._newest is None:
            raise RuntimeError("Nothing was told of the run yet: read on.")
        return self._newest

    def read(self, event: dict[str, Any]) -> Iterable[Run]:
        told, before = Run.model_validate(event), self._newest
        self._newest = told
        if told != before:
            yield told


class Runs(Resource[S]):
    @asks
    def request(
        self,
        assistant: str,
        *,
        reason: str | None = None,
        priority: int = 0,
        search_trials: int | None = None,
        base_model: str | None = None,
    ) -> Call[Run]:
        """`base_model`: to move to, if it is found no worse; for admins."""
        body = {"priority": priority, **given(reason=reason, search_trials=search_trials, base_model=base_model)}
        return Call("POST", path("/v1/assistants/{}/runs", assistant), one(Run), body)

    @asks
    def get(self, run: Run | str) -> Call[RunDetails]:
        return Call("GET", path("/v1/runs/{}", id_of(run)), one(RunDetails))

    @streams
    def follow(self, run: Run | str) -> Streaming[Run, Run]:
        """The run whenever it has changed, until it has ended; the service may be restarted meanwhile."""
        return Streaming(Call("GET", path("/v1/runs/{}/events", id_of(run)), unread), RunReader(), resumes=True)

    @asks
    def prioritize(self, run: Run | str, priority: int) -> Call[Run]:
        """Higher ones come first."""
        return Call("POST", path("/v1/runs/{}", id_of(run)), one(Run), {"priority": priority}, repeats=True)

    @asks
    def cancel(self, run: Run | str) -> Call[Run]:
        return Call("POST", path("/v1/runs/{}/cancel", id_of(run)), one(Run))

    @asks
    def retry(self, run: Run | str) -> Call[Run]:
        """Go on with one that failed or was cancelled."""
        return Call("POST", path("/v1/runs/{}/retry", id_of(run)), one(Run))

    @lists
    def list(self, *, assistant: str | None = None, status: str | None = None, page_size: int = 20) -> Paged[Run]:
        """The newest first."""
        wanted = given(assistant=assistant, status=status, limit=page_size)
        return Paged(lambda after: Call("GET", "/v1/runs", one(Page[Run]), params=wanted | given(after=after)))
