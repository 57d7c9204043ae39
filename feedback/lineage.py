"""Feedback → example → dataset version → run → adapter version → release, walkable both ways."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from feedback.adapters import label_of
from feedback.models import (
    AdapterVersion,
    DatasetVersion,
    Example,
    ExampleSource,
    Release,
    Run,
)
from feedback.states import ReleaseState, Side


@dataclass(frozen=True)
class Reach:
    """How far a piece of feedback got: every field is None until it got there."""

    dataset_number: int | None = None
    version: str | None = None  # the newest adapter version that trained on it; the live one, where that did
    judged_by: str | None = None  # the newest version that it judged
    live_since: datetime | None = None


def reach_of(session: Session, feedback_id: int) -> Reach:
    rows = session.exec(
        select(Example, DatasetVersion, AdapterVersion, Release)
        .select_from(ExampleSource)
        .join(Example, col(Example.id) == col(ExampleSource.example_id))
        .join(DatasetVersion, col(DatasetVersion.id) == col(Example.dataset_version_id))
        .outerjoin(Run, col(Run.dataset_version_id) == col(DatasetVersion.id))
        .outerjoin(AdapterVersion, col(AdapterVersion.run_id) == col(Run.id))
        .outerjoin(
            Release,
            (col(Release.adapter_version_id) == col(AdapterVersion.id)) & (col(Release.state) == ReleaseState.LIVE),
        )
        .where(ExampleSource.feedback_id == feedback_id)
        .order_by(col(DatasetVersion.number))
    ).all()
    reach = Reach()
    for example, dataset, version, release in rows:
        label = label_of(session, version) if version else None
        live_at = release.live_at if release else None
        trained = example.side == Side.TRAIN and label is not None
        if reach.live_since is not None and live_at is None:
            continue
        reach = Reach(
            dataset_number=dataset.number,
            version=label if trained else reach.version,
            judged_by=label if label and example.side != Side.TRAIN else reach.judged_by,
            live_since=live_at if trained else reach.live_since,
        )
    return reach


def feedback_behind(session: Session, version: AdapterVersion) -> Sequence[int]:
    """The feedback an adapter version trained on."""
    return session.exec(
        select(ExampleSource.feedback_id)
        .join(Example, col(Example.id) == col(ExampleSource.example_id))
        .join(Run, col(Run.dataset_version_id) == col(Example.dataset_version_id))
        .where(Run.id == version.run_id, Example.side == Side.TRAIN)
        .distinct()
        .order_by(col(ExampleSource.feedback_id))
    ).all()
