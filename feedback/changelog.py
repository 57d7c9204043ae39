"""What became of an assistant, release by release, in words for the people who use it: written from the lineage.

Promises counts alone: from how many people what was learned, how well it was found to work, which reports were upheld.
Nobody is named, and nothing that anybody wrote is quoted but an operator's reason. Leaves out proposals that never
served. Whether strangers may read it is the assistant's policy (`public.changes`).
"""

from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel
from sqlalchemy import func, or_
from sqlmodel import Session, col, select

from feedback import assistants, lineage
from feedback.errors import NotFound
from feedback.lineage import Sources
from feedback.models import AdapterVersion, Assistant, DatasetVersion, Evaluation, Release, ReportCase, Run
from feedback.sentences import Sentence, Told, counted, listed
from feedback.states import ON_TRIAL, CaseOutcome, FeedbackKind, Side

KINDS = {
    FeedbackKind.CORRECTION: ("{n} correction", "{n} corrections"),
    FeedbackKind.PREFERENCE: ("{n} choice", "{n} choices"),
    FeedbackKind.RATING: ("{n} rating", "{n} ratings"),
}
NOT_PUBLIC = "There is no such assistant, or what changed in it isn't public (its policy `public.changes`)."
_OF_RELEASE = "rel-"
_COUNTED: dict[tuple[object, ...], Sources] = {}
_MOST_COUNTED = 1000


class Change(BaseModel):
    """One release, or one that was tried and taken back."""

    id: str
    at: datetime
    version: str
    title: Sentence
    lines: list[Sentence]


def is_public(assistant: Assistant) -> bool:
    return assistant.name != assistants.BASE_VERSION and assistants.policies(assistant).public.changes


def list_public(session: Session) -> list[Assistant]:
    return [one for one in assistants.list_assistants(session) if is_public(one)]


def find_public(session: Session, name: str) -> Assistant:
    """Raises NotFound, the same for one that there isn't and for one whose changes are its users' alone."""
    found = session.exec(select(Assistant).where(Assistant.name == name)).first()
    if found is None or not is_public(found):
        raise NotFound(NOT_PUBLIC, param="name", code="model_not_found")
    return found


def changelog(session: Session, assistant: Assistant, limit: int = 50, after: str | None = None) -> list[Change]:
    """The newest first; `after`: the last change of the page before."""
    shown = or_(col(Release.live_at).is_not(None), col(Release.tried_at).is_not(None))
    ended = col(Release.state).not_in(ON_TRIAL)
    chosen = select(Release).where(Release.assistant_id == assistant.id, shown, ended).order_by(col(Release.id).desc())
    if after is not None:
        chosen = chosen.where(col(Release.id) < _release_id(after))
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


def _release_id(change_id: str) -> int:
    number = change_id.removeprefix(_OF_RELEASE)
    if not (change_id.startswith(_OF_RELEASE) and number.isascii() and number.isdigit() and len(number) < 19):
        raise NotFound(f"No change '{change_id[:40]}': `after` is the id of one.", param="after")
    return int(number)


def _change(session: Session, assistant: Assistant, release: Release, before: Release | None) -> Change:
    version = session.get_one(AdapterVersion, release.adapter_version_id)
    name = f"{assistant.name}@{version.number}"
    at = release.live_at or release.created_at
    lines: list[str] = [release.reason]
    if release.live_at is None:
        at, title = release.ended_at or at, Told("{version} was tried and taken back", version=name)
    elif _served_before(session, release):
        title = Told("{version} serves again", version=name)
    else:
        learned = [*_learned(session, version), *_found(session, release), *_reports(session, assistant, before, at)]
        lines = learned or lines
        began = "{version} began to serve" if version.number else "{version}, the bare base model, began to serve"
        title = Told(began, version=name)
    return Change(id=f"{_OF_RELEASE}{release.id}", at=at, version=name, title=title, lines=lines)


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
    sources = _sources(session, session.get_one(DatasetVersion, run.dataset_version_id))
    taught = sources.by_side.get(Side.TRAIN, {})
    counts = [counted(taught[kind], *words) for kind, words in KINDS.items() if taught.get(kind)]
    if not counts:
        return []
    people = counted(sources.contributors, "{n} person", "{n} people")
    told = "It learned from {what}; {people} said what it learned from, or was judged by."
    return [Told(told, what=listed(counts), people=people)]


def _sources(session: Session, dataset: DatasetVersion) -> Sources:
    """Counted once: it takes a second for each hundred thousand rows, and anybody may ask. Only erasures change it."""
    this = (dataset.id, dataset.sha256, dataset.created_at, dataset.rows_erased)
    known = _COUNTED.get(this)
    if known is None:
        known = lineage.sources_of(session, dataset.id)
        if len(_COUNTED) >= _MOST_COUNTED:
            _COUNTED.clear()
        _COUNTED[this] = known
    return known


def _found(session: Session, release: Release) -> list[str]:
    evaluation = session.get(Evaluation, release.evaluation_id) if release.evaluation_id else None
    if evaluation is None:
        return []
    lines: list[str] = []
    statistics = evaluation.statistics
    if recall := statistics.get("recall"):
        told = "Of {rows} corrections that it never saw it now gets {now} right, {before} before."
        lines.append(Told(told, rows=statistics["rows_with_key_facts"], **_shares(recall)))
    if choices := statistics.get("choices"):
        told = "Of {pairs} choices that it never saw it agrees with {now}, {before} before."
        lines.append(Told(told, pairs=choices["pairs"], **_shares(choices)))
    return lines


def _shares(measured: dict[str, float]) -> dict[str, str]:
    return {"now": f"{measured['candidate']:.0%}", "before": f"{measured['baseline']:.0%}"}


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
    told = listed([Told("{n} about {category}", n=count, category=Told(category)) for category, count in counts])
    total = sum(count for _, count in counts)
    one = "{n} report was looked into and upheld before: {told}."
    many = "{n} reports were looked into and upheld before: {told}."
    return [Told(one if total == 1 else many, n=total, told=told)]
