"""Dataset versions as people and programs look at them: lists, one with its datasheet, two compared, one verified.

Leaves out the counting (curate/datasheet.py) and the datasheet as Markdown (curate/datasheet_page.py).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field
from sqlmodel import Session, col, select

from feedback import datasets, verification
from feedback.database import in_portions
from feedback.errors import NotFound
from feedback.fine_tuning.models import learns_feedback
from feedback.models import Assistant, DatasetVersion, Feedback, Run
from feedback.row_hashes import RowsChanged, find_rows
from feedback.run_folder import Row
from feedback.states import FeedbackKind, FeedbackStatus

NEWEST = 5_000
"""Pieces of feedback among which what was dropped last is looked for."""
SHOWN = 3
"""Pieces that are shown of each reason."""


class DatasetRead(BaseModel):
    id: str
    number: int
    sha256: str
    created_at: datetime
    rows: dict[str, dict[str, int]] = Field(description="By side, by method.")
    people: dict[str, int] = Field(description="Identified contributors, by side.")
    rows_erased: int
    erased_at: datetime | None
    runs: list[str] = Field(description="That trained on it, the oldest first.")


class DatasetDetails(DatasetRead):
    datasheet: dict[str, Any]


class Difference(BaseModel):
    what: str = Field(description="`rows` or `dropped`.")
    which: str
    before: int
    after: int


class Verification(BaseModel):
    holds: bool = Field(description="Whether every row is the one that was frozen, or was taken by an erasure.")
    rows: int = Field(0, description="There, and as they were frozen.")
    erased: int = 0
    to_erase: int = Field(0, description="Being erased, and still there.")
    problem: str | None = Field(None, description="What differs.")


class DroppedPiece(BaseModel):
    id: str
    kind: FeedbackKind
    words: str = Field(description="A correction or a comment; none where only a reply was rated or chosen.")


Dropped = dict[tuple[str, str], list[DroppedPiece]]
"""By stage and reason, some of the pieces that were dropped for it."""


def read(session: Session, found: Sequence[DatasetVersion]) -> list[DatasetRead]:
    runs: dict[int | None, list[str]] = defaultdict(list)
    on_these = col(Run.dataset_version_id).in_([one.id for one in found])
    for run_id, dataset_id in session.exec(
        select(Run.id, Run.dataset_version_id).where(on_these).order_by(col(Run.created_at))
    ):
        runs[dataset_id].append(run_id)
    return [
        DatasetRead(
            id=f"v{one.number}",
            number=one.number,
            sha256=one.sha256,
            created_at=one.created_at,
            rows=one.datasheet["rows"],
            people={side: people["contributors"] for side, people in one.datasheet.get("people", {}).items()},
            rows_erased=one.rows_erased,
            erased_at=one.erased_at,
            runs=runs[one.id],
        )
        for one in found
    ]


def details(session: Session, dataset: DatasetVersion) -> DatasetDetails:
    return DatasetDetails(**read(session, [dataset])[0].model_dump(), datasheet=dataset.datasheet)


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[Difference]:
    """The counts in which two datasheets differ."""
    from feedback.curate.datasheet import compare  # brings numpy, which only few need

    return [
        Difference(what=one["what"], which=one["which"], before=one["now"], after=one["then"])
        for one in compare(before, after)
    ]


def verify(session: Session, runs_folder: Path, dataset: DatasetVersion) -> Verification:
    """Raises NotFound where its folder isn't on this machine."""
    try:
        found = verification.verify(session, runs_folder, dataset)
    except RowsChanged as error:
        return Verification(holds=False, problem=error.message)
    return Verification(holds=True, rows=found.rows, erased=found.erased, to_erase=found.to_erase)


def sample_rows(session: Session, runs_folder: Path, dataset: DatasetVersion) -> list[Row]:
    """Those of the datasheet's samples that are at hand: none where the folder isn't here, or was changed."""
    folder = datasets.folder_of(session, runs_folder, dataset)
    if folder is None:
        return []
    try:
        return list(find_rows(folder, dataset.datasheet["samples"]))
    except RowsChanged:
        return []


def dropped_last(session: Session, assistant: Assistant, dataset: DatasetVersion) -> Dropped | None:
    """Some of what was dropped, among the newest feedback; None: only the newest dataset made of feedback tells."""
    newest = (
        select(DatasetVersion.id)
        .join(Run, col(Run.dataset_version_id) == col(DatasetVersion.id))
        .where(DatasetVersion.assistant_id == assistant.id, learns_feedback())
        .order_by(col(DatasetVersion.number).desc())
    )
    if session.exec(newest.limit(1)).first() != dataset.id:
        return None
    ids = select(Feedback.id).where(Feedback.assistant_id == assistant.id).order_by(col(Feedback.id).desc())
    out = (FeedbackStatus.DECLINED, FeedbackStatus.IN_REVIEW)
    said = session.exec(
        select(Feedback.id, Feedback.status_reason)
        .where(col(Feedback.id).in_(ids.limit(NEWEST)), col(Feedback.status).in_(out))
        .order_by(col(Feedback.id).desc())
    )
    by_reason: dict[str | None, list[int]] = defaultdict(list)
    for number, reason in said:
        by_reason[reason].append(number)
    reasons = {(one["stage"], one["reason"]): by_reason[f"{one['reason']}."] for one in dataset.datasheet["dropped"]}
    return _pieces(session, reasons)


def dropped_now(session: Session, preview: datasets.Preview) -> Dropped:
    """Some of what a preview dropped."""
    reasons: dict[tuple[str, str], list[int]] = defaultdict(list)
    for (stage, reason, _), ids in preview.curated.dropped.by_reason(followers=False).items():
        reasons[stage, reason] += ids[:SHOWN]
    return _pieces(session, reasons)


def number_of(label: str) -> int:
    """
    >>> number_of("v3"), number_of("3")
    (3, 3)
    """
    number = label.removeprefix("v")
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise NotFound(f"'{label[:40]}' is no dataset's number: give one such as v3.", param="number")
    return int(number)


def _pieces(session: Session, reasons: dict[tuple[str, str], list[int]]) -> Dropped:
    wanted = {number for ids in reasons.values() for number in ids[:SHOWN]}
    shown = {one.id: _piece(one) for one in _feedback(session, wanted)}
    return {why: [shown[number] for number in ids[:SHOWN] if number in shown] for why, ids in reasons.items()}


def _feedback(session: Session, ids: Iterable[int]) -> Iterable[Feedback]:
    for some in in_portions(ids):
        yield from session.exec(select(Feedback).where(col(Feedback.id).in_(some)))


def _piece(feedback: Feedback) -> DroppedPiece:
    words = feedback.value.get("content") if feedback.kind == FeedbackKind.CORRECTION else feedback.comment
    return DroppedPiece(id=feedback.public_id, kind=feedback.kind, words=(words or "")[:300])
