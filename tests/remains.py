"""Looks for words in every place that a deployment keeps anything in."""

from pathlib import Path

from sqlmodel import select

import feedback.models  # noqa: F401  fills the metadata
from feedback.columns import Table
from feedback.database import Database


def tables_with(database: Database, words: str) -> list[str]:
    """The tables that have a row with `words` in any column."""
    with database.read() as session:
        return [
            table.name
            for table in Table.metadata.sorted_tables
            if any(words in repr(tuple(row)) for row in session.connection().execute(select(table)))
        ]


def files_with(folder: Path, words: str) -> list[str]:
    """The files under `folder`, hidden ones and the database's own too, that have `words` in any byte."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found if words.encode() in path.read_bytes())
