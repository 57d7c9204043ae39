"""Run folders without the rows that were erased: each file is written anew beside itself, synced and renamed.

Doing it again is harmless, and a kill in between leaves a file as it was or as it should be. Leaves out which rows
those are (finish.py).
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feedback import files
from feedback.datasets import DATASHEET, write_datasheet
from feedback.erasure import topics
from feedback.folder_lock import folder_lock
from feedback.row_hashes import rows_file
from feedback.run_folder import SPLITS

_LEFT_ASIDE = re.compile(r"\..+\.[0-9a-f]{8}")
"""What `files.replacing` and its like are writing, or were when they were killed."""
_OWN_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d ")
_QUOTES = re.compile(r"\n## (?:Where it changed|The worst losses|Before and after)\n")
"""From the first of these headings on, report.md quotes rows and replies; report.html does throughout."""
_LEARNED = ("checkpoints", "adapter", "adapter-draft", "unserved")
"""Weights in an attempt's folder: nothing goes on from them, and what became a version is in the registry."""


@dataclass(frozen=True)
class GoneRow:
    id: str
    sha256: str | None
    """None: frozen before rows had salts."""


def take_rows(folder: Path, rows: Iterable[GoneRow]) -> None:
    """Take rows out of a run's folder and of what its attempts say about them. Raises FolderBusy while one trains."""
    gone = list(rows)
    with folder_lock(folder):
        _remove_aside(folder)
        for side in SPLITS:
            _take_lines(rows_file(folder, side), gone)
        for attempt in folder.glob("attempt-*"):
            _remove_aside(attempt)
            for name in _LEARNED:
                remove(attempt / name)
            _take_words(attempt, {row.id for row in gone})


def quotes(folder: Path, versions: Set[str]) -> bool:
    """Whether an attempt's evaluation has what one of these versions (by their files' hashes) said."""
    return any(
        found.get(which) in versions
        for path in folder.glob("attempt-*/evaluation.json")
        for found in [files.read_json(path)]
        for which in ("candidate_version", "baseline_version")
    )


def take_replies(folder: Path) -> None:
    """Take out what versions said to held-out rows: one of them learned from what was erased. Raises FolderBusy."""
    with folder_lock(folder):
        for attempt in folder.glob("attempt-*"):
            _take_words(attempt, set())


def take_all_rows(folder: Path) -> None:
    """For a folder whose run ended before its dataset was recorded: nobody can tell whose rows those are."""
    _remove_aside(folder)
    for side in SPLITS:
        rows_file(folder, side).unlink(missing_ok=True)
    files.sync_folder(folder)
    if (folder / DATASHEET).is_file():
        put_datasheet(folder, topics.without(files.read_json(folder / DATASHEET)))


def put_datasheet(folder: Path, sheet: dict[str, Any]) -> None:
    """The folder's copy of a datasheet, from whose topics' names words may have gone, and its sample rows."""
    if (folder / DATASHEET).is_file():
        write_datasheet(folder, sheet)


def left_aside(path: Path) -> str | None:
    """What a half-written or replaced file or folder was to be called, or was; None if it isn't one."""
    return path.name[1:].rpartition(".")[0] if _LEFT_ASIDE.fullmatch(path.name) else None


def _remove_aside(folder: Path) -> None:
    for left in folder.glob(".*"):
        if _LEFT_ASIDE.fullmatch(left.name):
            remove(left)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _take_lines(path: Path, gone: Iterable[GoneRow]) -> None:
    if not path.is_file():
        return
    hashes = {bytes.fromhex(row.sha256) for row in gone if row.sha256}
    ids = {row.id for row in gone if not row.sha256}

    def is_gone(line: bytes) -> bool:
        return hashlib.sha256(line).digest() in hashes or (bool(ids) and json.loads(line)["id"] in ids)

    with path.open("rb") as lines:
        if not any(map(is_gone, lines)):
            return
    with path.open("rb") as lines, files.replacing(path) as kept:
        kept.writelines(line for line in lines if not is_gone(line))


def _take_words(attempt: Path, ids: set[str]) -> None:
    _clean_evaluation(attempt / "evaluation.json", ids)
    _clean_text(attempt / "report.md", lambda text: _QUOTES.split(text, maxsplit=1)[0])
    remove(attempt / "report.html")
    # a library's complaint or a traceback may quote what was read; our own lines never do
    _clean_text(attempt / "train.log", _own_lines)


def _clean_evaluation(path: Path, ids: set[str]) -> None:
    """Without the measurements of the rows, which quote them, and without all replies: what learned from a row may
    say it to anybody's question. Numbers stay."""
    if not path.is_file():
        return
    before: dict[str, Any] = files.read_json(path)
    after = before | {
        kind: [one for one in before.get(kind, ()) if one["id"] not in ids] for kind in ("rows", "pairs", "ratings")
    }
    after["rows"] = [row | {by: row[by] | {"reply": ""} for by in ("candidate", "baseline")} for row in after["rows"]]
    after |= {kind: [] for kind in ("samples", "worst", "groups") if kind in before}
    if after != before:
        files.write_json(path, after)


def _clean_text(path: Path, clean: Callable[[str], str]) -> None:
    if not path.is_file():
        return
    before = path.read_text("utf-8", "replace")
    if (after := clean(before)) != before:
        files.write_bytes(path, after.encode())


def _own_lines(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if _OWN_LINE.match(line))
