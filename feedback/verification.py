"""Whether a dataset version is still what was frozen: every row that is there, and an erasure for every one that isn't.

Leaves out whether a run's other files are whole: training looks at those (trainer.inputs).
"""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func
from sqlmodel import Session, col, select

from feedback.database import in_portions
from feedback.datasets import folder_of
from feedback.errors import NotFound
from feedback.models import DatasetVersion, Example
from feedback.row_hashes import RowsChanged, SideReader, require_list
from feedback.run_folder import SPLITS


@dataclass(frozen=True)
class Verified:
    folder: Path
    rows: int
    """There, and as they were frozen."""
    erased: int
    """Gone, as they should be."""
    to_erase: int
    """Erased from the database, and still in the folder's files: an erasure is under way."""


def verify(session: Session, runs_folder: Path, dataset: DatasetVersion) -> Verified:
    """Raises RowsChanged when anything else differs."""
    folder = folder_of(session, runs_folder, dataset)
    if folder is None:
        raise NotFound(
            f"The folder of the run that froze v{dataset.number} isn't in {runs_folder}: its rows can't be looked at. "
            "Restore it."
        )
    require_list(folder, dataset.sha256)
    rows, missing = 0, set[bytes]()
    for side in SPLITS:
        reader = SideReader(folder, side)
        rows += sum(1 for _ in reader.lines())
        missing |= reader.missing
    taken = _erased(session, dataset, missing)
    if taken < len(missing):
        raise RowsChanged(f"{folder} lacks {len(missing) - taken} rows that no erasure took: restore it from a backup.")
    of_all = select(func.count()).where(Example.dataset_version_id == dataset.id, col(Example.erasure_id).is_not(None))
    return Verified(folder, rows, taken, session.exec(of_all).one() - taken)


def _erased(session: Session, dataset: DatasetVersion, missing: set[bytes]) -> int:
    """How many of the missing rows an erasure took."""
    count = select(func.count()).where(Example.dataset_version_id == dataset.id, col(Example.erasure_id).is_not(None))
    return sum(
        session.exec(count.where(col(Example.sha256).in_([digest.hex() for digest in some]))).one()
        for some in in_portions(missing)
    )
