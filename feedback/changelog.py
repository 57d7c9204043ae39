"""What became of an assistant, release by release, in words for the people who use it: written from the lineage.

Promises counts alone: from how many people what was learned, how well it was found to work, which reports were upheld.
Nobody is named, and nothing that anybody wrote is quoted but an operator's reason. Leaves out proposals that never
served.
"""

from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel
from sqlalchemy import func, or_
from sqlmodel import Session, col, select

from feedback import lineage
from feedback.models import AdapterVersion, Assistant, Evaluation, Release, ReportCase, Run
from feedback.states import ON_TRIAL, CaseOutcome, FeedbackKind, Side

KINDS = {
    FeedbackKind.CORRECTION: ("correction", "corrections"),
    FeedbackKind.PREFERENCE: ("choice", "choices"),
    FeedbackKind.RATING: ("rating", "ratings"),
}


class Change(BaseModel):
    """One release, or one that was tried and taken back."""

    at: datetime
    version: str
    title: str
    lines: list[str]


def changelog(session: Session, assistant: Assistant, limit: int = 50) -> list[Change]:
    """The newest first."""
    shown = or_(col(Release.live_at).is_not(None), col(Release.tried_at).is_not(None))
    ended = col(Release.state).not_in(ON_TRIAL)
    chosen = select(Release).where(Release.assistant_id == assistant.id, shown, ended).order_by(col(Release.id).desc())
    found = session.exec(chosen.limit(limit + 1)).all()[::-1]
    changes, before = [], None
    for release in found:
        changes.append(_change(session, assistant, release, before))
        before = release if release.live_at is not None else before
    return changes[::-1][:limit]


def as_markdown(assistant: str, changes: Sequence[Change]) -> str:
    lines = [f"# What changed in {assistant}"]
    for change in changes:
        lines += ["", f"## {change.at:%Y-%m-%d}: {change.title}", "", *(f"- {line}" for line in change.lines)]
    return "\n".join(lines) + "\n"


def _change(session: Session, assistant: Assistant, release: Release, before: Release | None) -> Change:
    version = session.get_one(AdapterVersion, release.adapter_version_id)
    name = f"{assistant.name}@{version.number}"
    at = release.live_at or release.created_at
    if release.live_at is None:
        return Change(
            at=release.ended_at or at, version=name, title=f"{name} was tried and taken back", lines=[release.reason]
        )
    if _served_before(session, release):
        return Change(at=at, version=name, title=f"{name} serves again", lines=[release.reason])
    lines = [*_learned(session, version), *_found(session, release), *_reports(session, assistant, before, at)]
    title = f"{name} began to serve" if version.number else f"{name}, the bare base model, began to serve"
    return Change(at=at, version=name, title=title, lines=lines or [release.reason])


def _served_before(session: Session, release: Release) -> bool:
    earlier = select(Release.id).where(
        Release.adapter_version_id == release.adapter_version_id,
        col(Release.id) < release.id,
        col(Release.live_at).is_not(None),
    )
    return session.exec(earlier.limit(1)).first() is not None


def _learned(session: Session, version: AdapterVersion) -> list[str]:
    run = session.get(Run, version.run_id) if version.run_id else None
    if run is None or run.dataset_version_id is None:
        return []
    sources = lineage.sources_of(session, run.dataset_version_id)
    taught = sources.by_side.get(Side.TRAIN, {})
    counts = [f"{taught[kind]} {KINDS[kind][taught[kind] != 1]}" for kind in KINDS if taught.get(kind)]
    if not counts:
        return []
    people = "1 person" if sources.contributors == 1 else f"{sources.contributors} people"
    return [f"It learned from {_listed(counts)}; {people} said what it learned from, or was judged by."]


def _found(session: Session, release: Release) -> list[str]:
    evaluation = session.get(Evaluation, release.evaluation_id) if release.evaluation_id else None
    if evaluation is None:
        return []
    lines = []
    statistics = evaluation.statistics
    if recall := statistics.get("recall"):
        rows = statistics["rows_with_key_facts"]
        lines.append(
            f"Of {rows} corrections that it never saw it now gets {recall['candidate']:.0%} right, "
            f"{recall['baseline']:.0%} before."
        )
    if choices := statistics.get("choices"):
        lines.append(
            f"Of {choices['pairs']} choices that it never saw it agrees with {choices['candidate']:.0%}, "
            f"{choices['baseline']:.0%} before."
        )
    return lines


def _reports(session: Session, assistant: Assistant, before: Release | None, until: datetime) -> list[str]:
    """Cases that were upheld since the last release: what people reported, and was right."""
    upheld = select(ReportCase.category, func.count()).where(
        ReportCase.assistant_id == assistant.id,
        ReportCase.outcome == CaseOutcome.UPHELD,
        col(ReportCase.resolved_at) <= until,
    )
    if before is not None and before.live_at is not None:
        upheld = upheld.where(col(ReportCase.resolved_at) > before.live_at)
    counts = session.exec(upheld.group_by(col(ReportCase.category)).order_by(col(ReportCase.category))).all()
    if not counts:
        return []
    told = _listed([f"{count} about {category}" for category, count in counts])
    total = sum(count for _, count in counts)
    return [f"{total} {'report was' if total == 1 else 'reports were'} looked into and upheld before: {told}."]


def _listed(parts: Sequence[str]) -> str:
    """
    >>> _listed(["a", "b", "c"]), _listed(["a"])
    ('a, b and c', 'a')
    """
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
