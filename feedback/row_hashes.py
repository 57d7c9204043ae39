"""A dataset's rows, each known by its hash: `rows.txt` lists them all, and the dataset goes by the hash of that list.

    <side> <row id> <sha256 of the row's line, its newline included>      one line a row, sorted

Each row holds a salt, so that nobody can tell from its hash what a row said that is gone, while the list still proves
that every other row is one that was frozen. Leaves out which rows go (feedback.erasure).
"""

import hashlib
import json
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

from feedback import files
from feedback.errors import BurnishError
from feedback.run_folder import ROWS, SPLITS, Row, Split

_SALT_BYTES = 16


class RowsChanged(BurnishError):
    """A row that isn't the one that was frozen, or a list of rows that isn't the dataset's."""

    code = "rows_changed"


class RowHash(NamedTuple):
    side: Split
    id: str
    sha256: str


class Salts:
    """The salts of any number of pieces of feedback: in 24 bytes each, where a dict takes 200.

    >>> salts = Salts([(3, "0a" * 16), (7, "ff" * 16)])
    >>> salts.of([7, 3]) == salts.of([3, 7]) != salts.of([3])
    True
    """

    def __init__(self, by_id: Iterable[tuple[int, str]]) -> None:
        """`by_id`: ascending."""
        self._ids = array("q")
        self._salts = bytearray()
        for feedback_id, salt in by_id:
            self._ids.append(feedback_id)
            self._salts += bytes.fromhex(salt)

    def of(self, feedback_ids: Iterable[int]) -> str:
        """The salt of a row that was made of these: always the same, so that the same feedback gives the same row."""
        return hashlib.sha256(b"".join(sorted(map(self._salt, feedback_ids)))).hexdigest()[:32]

    def _salt(self, feedback_id: int) -> bytes:
        place = bisect_left(self._ids, feedback_id)
        assert self._ids[place] == feedback_id
        return bytes(self._salts[place * _SALT_BYTES : (place + 1) * _SALT_BYTES])


class RowsWriter:
    """`with RowsWriter(folder) as writer:` takes rows one by one; at the end files and list lie there, synced."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = ExitStack()
        self._lines: list[bytes] = []
        self.sha256 = ""
        """The dataset's, once the block has ended."""

    def __enter__(self) -> "RowsWriter":
        self._files: dict[str, BinaryIO] = {
            side: self._open.enter_context(files.replacing(rows_file(self._folder, side))) for side in SPLITS
        }
        return self

    def add(self, side: str, row: Row) -> bytes:
        """Returns the row's sha256."""
        fields = row.model_dump(exclude_none=True)
        line = (json.dumps(fields, ensure_ascii=False, sort_keys=True) + "\n").encode()
        self._files[side].write(line)
        digest = hashlib.sha256(line)
        self._lines.append(f"{side} {row.id} {digest.hexdigest()}\n".encode())
        return digest.digest()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, traceback)
        if error is None:
            with files.replacing(self._folder / ROWS) as listed:
                listed.writelines(sorted(self._lines))
            self.sha256 = files.file_sha256(self._folder / ROWS)


def write_rows(folder: Path, rows: Mapping[Split, Iterable[Row]]) -> str:
    """All rows at once, as they are; returns the dataset's sha256."""
    with RowsWriter(folder) as writer:
        for side, made in rows.items():
            for row in made:
                writer.add(side, row)
    return writer.sha256


def rows_file(folder: Path, side: Split) -> Path:
    return folder / f"{side}.jsonl"


def require_list(folder: Path, dataset_sha256: str) -> None:
    """Raise RowsChanged unless the folder's list of rows is the dataset's."""
    path = folder / ROWS
    if not path.is_file():
        raise RowsChanged(f"{path} is missing: the rows can't be told from others.")
    if files.file_sha256(path) != dataset_sha256:
        raise RowsChanged(f"{path} was changed: its sha256 isn't the dataset's.")


def find_rows(folder: Path, ids: Mapping[Split, Iterable[str]]) -> Iterator[Row]:
    """Those of the rows with these ids that are there. Raises RowsChanged where one can't be read."""
    for side, some in ids.items():
        wanted = {row_id.encode() for row_id in some}
        if not wanted or not rows_file(folder, side).is_file():
            continue
        with rows_file(folder, side).open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not any(row_id in line for row_id in wanted):
                    continue
                try:
                    row = Row.model_validate_json(line)
                except ValueError:
                    raise RowsChanged(f"{rows_file(folder, side)} was changed: line {number} is no row.") from None
                wanted.discard(row.id.encode())
                yield row
                if not wanted:
                    break


class SideReader:
    """The lines of one side's file, each held against the list; what is left of the list in the end is `missing`.

    Holds 100 bytes a row, and none of the rows.
    """

    def __init__(self, folder: Path, side: Split) -> None:
        self._path = rows_file(folder, side)
        self.missing = {bytes.fromhex(row.sha256) for row in read_list(folder) if row.side == side}

    def lines(self) -> Iterator[bytes]:
        """Raises RowsChanged at a line that isn't in the list, or is there twice."""
        if not self._path.is_file():
            raise RowsChanged(f"{self._path} is missing.")
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                digest = hashlib.sha256(line).digest()
                if digest not in self.missing:
                    raise RowsChanged(f"{self._path} was changed: line {number} isn't a row of the dataset.")
                self.missing.remove(digest)
                yield line


def read_list(folder: Path) -> Iterator[RowHash]:
    with (folder / ROWS).open(encoding="utf-8") as listed:
        for line in listed:
            side, row_id, sha256 = line.split()
            yield RowHash(_SIDES[side], row_id, sha256)


_SIDES: dict[str, Split] = {side: side for side in SPLITS}
