"""What an operator wants to see of contributors: how much each said, what became of it, and whether they are held back.

Every look is bounded, however much was said: counts are of each one's newest pieces, MOST_COUNTED at most. Leaves out
holding back (quarantine.py), and how far the curation believes somebody, which is told by what it turned down and why.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, and_, func, or_
from sqlmodel import Session, col, select

from feedback import lineage, quarantine
from feedback.models import Assistant, Contributor, DatasetVersion, Example, ExampleSource, Feedback
from feedback.review import get_feedback
from feedback.states import FeedbackKind, FeedbackStatus, Side

MOST_COUNTED = 2_000
NEWEST = 10_000
"""Pieces of an assistant's feedback among which `busiest` looks."""
_TURNED_DOWN = (FeedbackStatus.DECLINED, FeedbackStatus.IN_REVIEW)


class Show(StrEnum):
    NEWEST = "newest"  # everybody, who came last first
    BUSIEST = "busiest"  # who gave the most of the assistant's newest feedback; one page
    QUARANTINED = "quarantined"  # who is held back, who came last first


class ContributorRead(BaseModel):
    id: str
    side: Side
    first_seen: datetime
    last_seen: datetime | None = Field(description="When they said something last; null: nothing of it is left.")
    pieces: int = Field(description=f"Of their newest {MOST_COUNTED:,}.")
    kinds: dict[FeedbackKind, int]
    statuses: dict[FeedbackStatus, int]
    turned_down: float | None = Field(description="The share that was declined or waits for a person.")
    quarantined_at: datetime | None
    quarantine_reason: str | None


class Outcome(BaseModel):
    """What became of some of their feedback."""

    status: FeedbackStatus
    reason: str
    pieces: int


class ContributorDetails(ContributorRead):
    outcomes: list[Outcome] = Field(description="Why some of it was turned down or replaced, the commonest first.")
    datasets: list[str] = Field(description="Frozen datasets with rows of theirs.")
    versions: list[str] = Field(description="Versions that learned from these rows, or were judged by them: see side.")


def list_contributors(
    session: Session, assistant: Assistant, show: Show = Show.NEWEST, *, after: str | None = None, limit: int = 20
) -> list[ContributorRead]:
    """`after`: the last one of the page before. The busiest are one page, whatever it says."""
    if show == Show.BUSIEST:
        return _read(session, _busiest(session, assistant, limit))
    chosen = select(Contributor).where(Contributor.assistant_id == assistant.id)
    if show == Show.QUARANTINED:
        chosen = chosen.where(col(Contributor.quarantined_at).is_not(None))
    if after is not None:
        chosen = chosen.where(_came_before(quarantine.find(session, assistant, after)))
    newest_first = (col(Contributor.created_at).desc(), col(Contributor.id).desc())
    return _read(session, session.exec(chosen.order_by(*newest_first).limit(limit)).all())


def details(session: Session, assistant: Assistant, contributor_id: str) -> ContributorDetails:
    contributor = quarantine.find(session, assistant, contributor_id)
    (told,) = _read(session, [contributor])
    datasets = session.exec(
        select(Example.dataset_version_id)
        .join(ExampleSource, col(ExampleSource.example_id) == col(Example.id))
        .join(Feedback, col(Feedback.id) == col(ExampleSource.feedback_id))
        .where(Feedback.contributor_id == contributor.id, col(Example.erasure_id).is_(None))
        .distinct()
    ).all()
    runs = [run for found in lineage.outcomes_of(session, datasets).values() for run in found]
    numbers = sorted({run.version.number for run in runs if run.version is not None})
    return ContributorDetails(
        **told.model_dump(),
        outcomes=_outcomes(session, contributor),
        datasets=[f"v{number}" for number in sorted(_numbers(session, datasets))],
        versions=[f"{assistant.name}@{number}" for number in numbers],
    )


def feedback_of(
    session: Session, assistant: Assistant, contributor_id: str, *, after: str | None = None, limit: int = 20
) -> list[Feedback]:
    """What they said, the newest first."""
    contributor = quarantine.find(session, assistant, contributor_id)
    said = select(Feedback).where(Feedback.contributor_id == contributor.id)
    if after is not None:
        said = said.where(Feedback.id < get_feedback(session, after, frozenset({assistant.id})).id)
    return list(session.exec(said.order_by(col(Feedback.id).desc()).limit(limit)))


def _busiest(session: Session, assistant: Assistant, limit: int) -> Sequence[Contributor]:
    newest = (
        select(Feedback.contributor_id)
        .where(Feedback.assistant_id == assistant.id)
        .order_by(col(Feedback.id).desc())
        .limit(NEWEST)
        .subquery()
    )
    given_by = newest.c.contributor_id
    counted = select(given_by).where(given_by.is_not(None)).group_by(given_by)
    names = session.exec(counted.order_by(func.count().desc(), given_by).limit(limit)).all()
    people = {one.id: one for one in session.exec(select(Contributor).where(col(Contributor.id).in_(names)))}
    return [people[name] for name in names]


def _came_before(last: Contributor) -> ColumnElement[bool]:
    at = col(Contributor.created_at)
    return and_(at <= last.created_at, or_(at < last.created_at, col(Contributor.id) < last.id))


def _read(session: Session, people: Iterable[Contributor]) -> list[ContributorRead]:
    return [_count(session, contributor) for contributor in people]


def _numbers(session: Session, datasets: Sequence[int]) -> Sequence[int]:
    return session.exec(select(DatasetVersion.number).where(col(DatasetVersion.id).in_(datasets))).all()


def _outcomes(session: Session, contributor: Contributor) -> list[Outcome]:
    newest = (
        select(Feedback.status, Feedback.status_reason)
        .where(Feedback.contributor_id == contributor.id)
        .order_by(col(Feedback.id).desc())
        .limit(MOST_COUNTED)
        .subquery()
    )
    status, reason = newest.c.status, newest.c.status_reason
    counted = select(status, reason, func.count()).where(reason.is_not(None)).group_by(status, reason)
    found = session.exec(counted.order_by(func.count().desc(), reason)).all()
    return [Outcome(status=state, reason=why, pieces=pieces) for state, why, pieces in found]


def _count(session: Session, contributor: Contributor) -> ContributorRead:
    newest = (
        select(Feedback.kind, Feedback.status, Feedback.created_at)
        .where(Feedback.contributor_id == contributor.id)
        .order_by(col(Feedback.id).desc())
        .limit(MOST_COUNTED)
        .subquery()
    )
    kind, status = newest.c.kind, newest.c.status
    kinds: Counter[FeedbackKind] = Counter()
    statuses: Counter[FeedbackStatus] = Counter()
    last_seen: datetime | None = None
    counted = select(kind, status, func.count(), func.max(newest.c.created_at)).group_by(kind, status)
    for of_kind, in_state, pieces, last in session.exec(counted):
        kinds[of_kind] += pieces
        statuses[in_state] += pieces
        last_seen = last if last_seen is None else max(last, last_seen)
    current = statuses.total() - statuses[FeedbackStatus.REPLACED]
    return ContributorRead(
        id=contributor.id,
        side=contributor.side,
        first_seen=contributor.created_at,
        last_seen=last_seen,
        pieces=kinds.total(),
        kinds=dict(kinds.most_common()),
        statuses=dict(statuses.most_common()),
        turned_down=sum(statuses[one] for one in _TURNED_DOWN) / current if current else None,
        quarantined_at=contributor.quarantined_at,
        quarantine_reason=contributor.quarantine_reason,
    )
