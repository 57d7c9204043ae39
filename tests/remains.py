"""Looks for words in every place that a deployment keeps anything in."""

import os
import subprocess
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
    """The files under `folder`, hidden ones and the database's own too, that have `words` in any byte.

    Another process reads them: whoever closes a file of SQLite's gives up all locks that its process has on it, so
    that others may remove the write-ahead log under this one's connections, which then read old pages for ever.
    """
    command = ["grep", "--recursive", "--files-with-matches", "--text", "--fixed-strings", "--regexp", words, "."]
    for _ in range(5):  # a file that goes away meanwhile is an error to grep
        found = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, env={"LC_ALL": "C", "PATH": os.defpath})
        if found.returncode in (0, 1):
            break
    assert found.returncode in (0, 1), f"{folder} can't be searched"
    return sorted(line.removeprefix("./") for line in found.stdout.decode().splitlines())
