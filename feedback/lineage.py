"""Feedback → example → dataset version → run → adapter version → release, walkable both ways.

However much feedback or however many versions are asked about, the number of queries stays the same (in portions).
Leaves out how that is shown (lineage_tree.py).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, select

from feedback.database import in_portions
from feedback.models import (
    AdapterVersion,
    Assistant,
    DatasetVersion,
    Evaluation,
    Example,
    ExampleSource,
    Feedback,
    Release,
    Run,
)
from feedback.states import FeedbackKind, ReleaseState, Side

MOST_SHARES = 10
"""Contributors that a summary names; the largest ones."""


@dataclass(frozen=True)
class Use:
    """A row of a frozen dataset that was made of a piece of feedback."""

    dataset: DatasetVersion
    side: Side
    row_id: str
    erased: bool


@dataclass(frozen=True)
class Outcome:
    """A run on a dataset, and what came of it."""

    run: Run
    version: AdapterVersion | None = None
    evaluation: Evaluation | None = None
    releases: list[Release] = field(default_factory=list)

    @property
    def live_since(self) -> datetime | None:
        return next((release.live_at for release in self.releases if release.state == ReleaseState.LIVE), None)


@dataclass(frozen=True)
class Reach:
    """How far a piece of feedback got: every field is None until it got there."""

    dataset_number: int | None = None
    version: str | None = None  # the newest adapter version that trained on it; the live one, where that did
    judged_by: str | None = None  # the newest version that it judged
    live_since: datetime | None = None


@dataclass(frozen=True)
class Sources:
    """What a dataset is made of, counted; what was erased since is in none of it."""

    feedback: int
    by_side: dict[Side, dict[FeedbackKind, int]]
    contributors: int
    anonymous: int
    """Pieces of feedback that nobody is named for."""
    largest: list[tuple[str, int]]
    """(contributor, pieces of feedback), the most first."""


# ── forwards ─────────────────────────────────────────────────────────────────────────────────────────────────


def uses_of(session: Session, feedback_ids: Iterable[int]) -> dict[int, list[Use]]:
    """The rows made of each piece of feedback, oldest dataset first."""
    found: dict[int, list[Use]] = defaultdict(list)
    for some in in_portions(feedback_ids):
        chosen = (
            select(ExampleSource.feedback_id, Example, DatasetVersion)
            .join(Example, col(Example.id) == col(ExampleSource.example_id))
            .join(DatasetVersion, col(DatasetVersion.id) == col(Example.dataset_version_id))
            .where(col(ExampleSource.feedback_id).in_(some))
            .order_by(col(DatasetVersion.number), col(Example.row_id))
        )
        for feedback_id, example, dataset in session.exec(chosen):
            found[feedback_id].append(Use(dataset, example.side, example.row_id, example.erasure_id is not None))
    return found


def outcomes_of(session: Session, dataset_ids: Iterable[int]) -> dict[int, list[Outcome]]:
    """By dataset, what its runs came to."""
    found: dict[int, list[Outcome]] = defaultdict(list)
    for some in in_portions(dataset_ids):
        rows = session.exec(
            select(Run, AdapterVersion)
            .outerjoin(AdapterVersion, col(AdapterVersion.run_id) == col(Run.id))
            .where(col(Run.dataset_version_id).in_(some))
            .order_by(col(Run.created_at))
        ).all()
        version_ids = [version.id for _, version in rows if version is not None]
        evaluations = {
            one.candidate_id: one
            for one in session.exec(
                select(Evaluation).where(col(Evaluation.candidate_id).in_(version_ids)).order_by(col(Evaluation.id))
            )
        }
        releases = releases_of(session, version_ids)
        for run, version in rows:
            outcome = Outcome(run)
            if version is not None:
                outcome = Outcome(run, version, evaluations.get(version.id), releases[version.id])
            found[run.dataset_version_id or 0].append(outcome)
    return found


def releases_of(session: Session, version_ids: Sequence[int]) -> dict[int, list[Release]]:
    found: dict[int, list[Release]] = defaultdict(list)
    chosen = select(Release).where(col(Release.adapter_version_id).in_(version_ids)).order_by(col(Release.id))
    for release in session.exec(chosen):
        found[release.adapter_version_id].append(release)
    return found


def reach_of(session: Session, feedback_id: int) -> Reach:
    uses = uses_of(session, [feedback_id])[feedback_id]
    outcomes = outcomes_of(session, {use.dataset.id for use in uses})
    name = session.get_one(Assistant, uses[0].dataset.assistant_id).name if uses else ""
    reach = Reach()
    for use in uses:
        for outcome in outcomes[use.dataset.id]:
            label = f"{name}@{outcome.version.number}" if outcome.version else None
            live_at = outcome.live_since
            trained = use.side == Side.TRAIN and label is not None
            if reach.live_since is not None and live_at is None:
                continue
            reach = Reach(
                dataset_number=use.dataset.number,
                version=label if trained else reach.version,
                judged_by=label if label and use.side != Side.TRAIN else reach.judged_by,
                live_since=live_at if trained else reach.live_since,
            )
    return reach


# ── backwards ────────────────────────────────────────────────────────────────────────────────────────────────


def sources_of(session: Session, dataset_id: int) -> Sources:
    pieces = func.count(func.distinct(Feedback.id))

    def of_dataset(chosen: Any) -> Any:
        return (
            chosen.select_from(Example)
            .join(ExampleSource, col(ExampleSource.example_id) == col(Example.id))
            .join(Feedback, col(Feedback.id) == col(ExampleSource.feedback_id))
            .where(Example.dataset_version_id == dataset_id)
        )

    by_side: dict[Side, dict[FeedbackKind, int]] = {}
    sides = of_dataset(select(Example.side, Feedback.kind, pieces)).group_by(col(Example.side), col(Feedback.kind))
    for side, kind, count in session.exec(sides):
        by_side.setdefault(side, {})[kind] = count
    person = col(Feedback.contributor_id)
    total, contributors = session.exec(of_dataset(select(pieces, func.count(func.distinct(person))))).one()
    named = of_dataset(select(person, pieces)).where(person.is_not(None)).group_by(person)
    return Sources(
        feedback=total,
        by_side=by_side,
        contributors=contributors,
        anonymous=session.exec(of_dataset(select(pieces)).where(person.is_(None))).one(),
        largest=[tuple(row) for row in session.exec(named.order_by(pieces.desc(), person).limit(MOST_SHARES))],
    )


def page_of(session: Session, dataset_id: int, *, after: int = 0, limit: int = 50) -> list[tuple[Feedback, list[Use]]]:
    """Some of the feedback that a dataset is made of, oldest first, each piece with its rows in that dataset."""
    ids = session.exec(
        select(ExampleSource.feedback_id)
        .join(Example, col(Example.id) == col(ExampleSource.example_id))
        .where(Example.dataset_version_id == dataset_id, ExampleSource.feedback_id > after)
        .distinct()
        .order_by(col(ExampleSource.feedback_id))
        .limit(limit)
    ).all()
    said = session.exec(select(Feedback).where(col(Feedback.id).in_(ids)).order_by(col(Feedback.id))).all()
    uses = uses_of(session, ids)
    return [(one, [use for use in uses[one.id] if use.dataset.id == dataset_id]) for one in said]
