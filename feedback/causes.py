"""Which training rows most likely caused a run's losses, as its evaluation says that traced them.

Leaves out the tracing (trainer/evaluation/influence.py).
"""

import json
from pathlib import Path

from pydantic import BaseModel

from feedback import evaluations
from feedback.errors import NotFound
from feedback.models import Run


class Cause(BaseModel):
    row_id: str
    influence: float
    """Cosine of the row's gradient and the loss's."""


class Loss(BaseModel):
    """A held-out question that the candidate answers worse than its baseline."""

    id: str
    question: str
    expected: str
    before: str
    after: str
    causes: list[Cause]


def losses_of(runs_folder: Path, run: Run) -> list[Loss]:
    """Those with causes; none where the run wasn't judged, its losses weren't traced, or an erasure took its report."""
    try:
        path = evaluations.report_file(runs_folder, run, "json")
    except NotFound:
        return []
    worst = json.loads(path.read_bytes()).get("worst", [])
    return [Loss.model_validate(one) for one in worst if one.get("causes")]
