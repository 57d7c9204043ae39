"""What an operator wants to see of an assistant's versions: where from, judged how, serving since when."""

from datetime import datetime

from pydantic import BaseModel
from sqlmodel import Session, col, select

from feedback import adapters
from feedback.models import AdapterVersion, Assistant, DatasetVersion, Evaluation, Release, Run
from feedback.states import ReleaseState, VerdictWord


class VersionReport(BaseModel):
    version: str
    sha256: str
    run_id: str | None
    dataset: int | None
    verdict: VerdictWord | None
    reasons: list[str]
    release: ReleaseState | None
    live_since: datetime | None
    tainted_at: datetime | None
    tainted_reason: str | None
    created_at: datetime


def version_reports(session: Session, assistant: Assistant) -> list[VersionReport]:
    return [version_report(session, assistant, version) for version in adapters.list_versions(session, assistant)]


def newest_versions(
    session: Session, assistant: Assistant, limit: int = 20, *, below: int | None = None
) -> list[VersionReport]:
    """The newest first; with numbers `below` that, if it is given."""
    chosen = select(AdapterVersion).where(AdapterVersion.assistant_id == assistant.id)
    if below is not None:
        chosen = chosen.where(AdapterVersion.number < below)
    newest = chosen.order_by(col(AdapterVersion.number).desc()).limit(limit)
    return [version_report(session, assistant, version) for version in session.exec(newest)]


def version_report(session: Session, assistant: Assistant, version: AdapterVersion) -> VersionReport:
    evaluation = session.exec(
        select(Evaluation).where(Evaluation.candidate_id == version.id).order_by(col(Evaluation.id).desc()).limit(1)
    ).first()
    release = session.exec(
        select(Release).where(Release.adapter_version_id == version.id).order_by(col(Release.id).desc()).limit(1)
    ).first()
    run = session.get(Run, version.run_id) if version.run_id else None
    dataset = session.get(DatasetVersion, run.dataset_version_id) if run and run.dataset_version_id else None
    return VersionReport(
        version=f"{assistant.name}@{version.number}",
        sha256=version.sha256,
        run_id=version.run_id,
        dataset=dataset.number if dataset else None,
        verdict=evaluation.verdict if evaluation else None,
        reasons=evaluation.reasons if evaluation else [],
        release=release.state if release else None,
        live_since=release.live_at if release and release.state == ReleaseState.LIVE else None,
        tainted_at=version.tainted_at,
        tainted_reason=version.tainted_reason,
        created_at=version.created_at,
    )
