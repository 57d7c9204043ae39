"""A run's folder, read and checked: nothing is trained on that isn't what the run was made of.

Leaves out making such a folder (the worker does).
"""

from pathlib import Path

from pydantic import ValidationError

from feedback.errors import AdapterRefused, RunFailed
from feedback.files import file_sha256, read_json
from feedback.row_hashes import RowsChanged, SideReader, require_list, rows_file
from feedback.run_folder import SPLITS, Row, RunSpec, Split
from service.engines.adapter_format import read_adapter
from service.engines.base import BASE

ANEW = "Start a new run, without them: `burnish train ASSISTANT`."
RESTORE = "Restore the folder from a backup, or let `burnish train ASSISTANT` make a new run."


def read_run(folder: Path) -> tuple[RunSpec, dict[Split, list[Row]]]:
    """The specification and the rows, once every input file, and every row, has the hash that run.json stands for."""
    spec = _read_spec(folder)
    for name, expected in spec.files.items():
        path = folder / name
        if not path.is_file():
            raise RunFailed(f"{path} is missing, though run.json lists it. {RESTORE}")
        if file_sha256(path) != expected:
            raise RunFailed(f"{path} was changed: its sha256 isn't what run.json says. {RESTORE}")
    if spec.baseline_version != BASE:
        try:
            read_adapter(folder / "baseline", expected_sha256=spec.baseline_version)
        except AdapterRefused as refusal:
            raise RunFailed(f"The baseline can't be compared with: {refusal.message}") from refusal
    try:
        require_list(folder, spec.dataset_sha256)
        return spec, {split: _read_rows(folder, split) for split in SPLITS}
    except RowsChanged as changed:
        raise RunFailed(f"{changed.message} {RESTORE}") from None


def _read_spec(folder: Path) -> RunSpec:
    path = folder / "run.json"
    try:
        return RunSpec.model_validate(read_json(path))
    except FileNotFoundError:
        raise RunFailed(f"{path} is missing: this is no run's folder. Give the folder that holds run.json.") from None
    except ValueError as error:  # pydantic's ValidationError is one
        raise RunFailed(f"{path} isn't a run's specification: {_first_complaint(error)}") from None


def _read_rows(folder: Path, split: Split) -> list[Row]:
    rows: list[Row] = []
    reader = SideReader(folder, split)
    try:
        for line in reader.lines():
            row = Row.model_validate_json(line)
            if complaint := _incomplete(row):
                raise ValueError(complaint)
            rows.append(row)
    except ValueError as error:
        raise RunFailed(f"{rows_file(folder, split)}, row {len(rows) + 1}: {_first_complaint(error)}") from None
    if reader.missing:
        raise RunFailed(
            f"{rows_file(folder, split)} lacks {len(reader.missing)} of its rows: they were erased since, so that "
            f"nothing is trained or judged with this folder any more. {ANEW}"
        )
    return rows


def _incomplete(row: Row) -> str | None:
    needed = {"sft": ("completion",), "dpo": ("chosen", "rejected"), "kto": ("completion", "label")}[row.method]
    missing = [name for name in needed if getattr(row, name) in (None, [])]
    if not row.prompt:
        missing.append("prompt")
    return f"a {row.method} row needs {', '.join(missing)}" if missing else None


def _first_complaint(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)
