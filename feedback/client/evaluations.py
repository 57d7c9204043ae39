"""How candidates were judged over time, and each run's report; for operators."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from feedback.client.calls import Call, Told, id_of, many, path
from feedback.client.resource import Resource, S, asks
from feedback.client.runs import Run


class Measure(Told):
    """How far a candidate was from its baseline, with the bounds that decided; None: there was too little."""

    mean: float
    lower: float | None
    upper: float | None
    rows: int


class Evaluation(Told):
    run: str
    at: datetime
    version: str
    against: str
    verdict: str
    """PROMOTE, REJECT, INCONCLUSIVE or BLOCKED."""
    reasons: list[str]
    measures: dict[str, Measure]
    guards: dict[str, str]
    """passed, failed or not measurable."""


class Evaluations(Resource[S]):
    @asks
    def report(self, run: Run | str, format: Literal["html", "md", "json"] = "md") -> Call[str]:
        """Did it help, for whom, how sure, what got worse, what it learned from."""
        return Call("GET", path("/v1/runs/{}/report", id_of(run)), bytes.decode, params={"format": format})

    @asks
    def list(self, assistant: str, *, limit: int = 50) -> Call[Sequence[Evaluation]]:
        """The newest first."""
        where = path("/v1/assistants/{}/evaluations", assistant)
        return Call("GET", where, many(Evaluation), params={"limit": limit})
