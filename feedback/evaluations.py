"""What evaluations say of versions: the newest of each, how often a baseline was tried, whether a version may serve.

Leaves out making evaluations (the trainer) and releases (releases.py).
"""

from collections.abc import Mapping
from typing import Any

from sqlmodel import Session, col, select

from feedback.models import AdapterVersion, Evaluation, Release
from feedback.states import ReleaseState, VerdictWord


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


def _decided(statistics: Mapping[str, Any]) -> bool:
    return any(family["decides"] for family in statistics.get("families", {}).values())
