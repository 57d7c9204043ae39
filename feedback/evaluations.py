"""What evaluations say of versions: the newest of each, how often a baseline was tried, whether a version may serve;
and how an assistant's candidates were judged over time.

Leaves out making evaluations (the trainer) and releases (releases.py).
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from feedback.errors import NotFound
from feedback.models import AdapterVersion, Assistant, Evaluation, Release, Run
from feedback.run_folder import attempt_folder
from feedback.states import GuardOutcome, ReleaseState, VerdictWord

ReportFormat = Literal["html", "md", "json"]
_REPORTS: dict[ReportFormat, str] = {"html": "report.html", "md": "report.md", "json": "evaluation.json"}


class JudgedMeasure(BaseModel):
    """How far a candidate was from its baseline, with the bounds that decided; null: none, there was too little."""

    mean: float
    lower: float | None
    upper: float | None
    rows: int


class Judged(BaseModel):
    """One candidate held against what served then."""

    id: str
    run: str
    at: datetime
    version: str
    against: str
    verdict: VerdictWord
    reasons: list[str]
    measures: dict[str, JudgedMeasure]
    guards: dict[str, GuardOutcome]


def judged_against(session: Session, baseline: AdapterVersion) -> int:
    """How many candidates were held against a version so far, whenever it served, with enough to decide by: each of
    them was a try."""
    chosen = select(Evaluation.candidate_id, Evaluation.statistics).where(Evaluation.baseline_id == baseline.id)
    return len({candidate for candidate, found in session.exec(chosen) if _decided(found)})


def may_serve(
    session: Session, version: AdapterVersion, evaluation: Evaluation | None, serving: AdapterVersion
) -> bool:
    newest_release = select(Release).where(Release.adapter_version_id == version.id).order_by(col(Release.id).desc())
    last = session.exec(newest_release.limit(1)).first()
    if last is not None and last.state == ReleaseState.VETOED:
        return False
    better = (
        evaluation is not None and evaluation.verdict == VerdictWord.PROMOTE and evaluation.baseline_id == serving.id
    )
    if better or version.number == 0:
        return True
    served = select(Release.id).where(Release.adapter_version_id == version.id, col(Release.live_at).is_not(None))
    return session.exec(served.limit(1)).first() is not None


def newest(session: Session, version: AdapterVersion) -> Evaluation | None:
    return session.exec(
        select(Evaluation).where(Evaluation.candidate_id == version.id).order_by(col(Evaluation.id).desc()).limit(1)
    ).first()


def history(session: Session, assistant: Assistant, limit: int = 50, *, after: int | None = None) -> list[Judged]:
    """The newest first; older than the evaluation `after`, if that is given."""
    candidate, baseline = aliased(AdapterVersion), aliased(AdapterVersion)
    judged = (
        select(Evaluation, candidate.number, baseline.number)
        .join(candidate, col(candidate.id) == Evaluation.candidate_id)
        .join(baseline, col(baseline.id) == Evaluation.baseline_id)
        .where(candidate.assistant_id == assistant.id)
        .order_by(col(Evaluation.id).desc())
        .limit(limit)
    )
    if after is not None:
        judged = judged.where(col(Evaluation.id) < after)
    return [_judged(assistant, *found) for found in session.exec(judged)]


def report_file(runs_folder: Path, run: Run, form: ReportFormat) -> Path:
    """Raises NotFound for a run that hasn't been judged, and where an erasure took the report's words away."""
    path = attempt_folder(runs_folder / run.id, run.attempt) / _REPORTS[form]
    if not path.is_file():
        raise NotFound(f"{run.id} has no {path.name}: it wasn't judged (yet), or something it quoted was erased.")
    return path


def _judged(assistant: Assistant, evaluation: Evaluation, candidate: int, baseline: int) -> Judged:
    families = evaluation.statistics.get("families", {})
    measures = {name: found for family in families.values() for name, found in family["measures"].items()}
    return Judged(
        id=str(evaluation.id),
        run=evaluation.run_id,
        at=evaluation.created_at,
        version=f"{assistant.name}@{candidate}",
        against=f"{assistant.name}@{baseline}",
        verdict=evaluation.verdict,
        reasons=evaluation.reasons,
        measures={
            name: JudgedMeasure(**{key: found[key] for key in JudgedMeasure.model_fields})
            for name, found in measures.items()
        },
        guards=evaluation.statistics.get("guards", {}),
    )


def _decided(statistics: Mapping[str, Any]) -> bool:
    return any(family["decides"] for family in statistics.get("families", {}).values())
