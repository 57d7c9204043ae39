"""A run's folder, read and checked: nothing is trained on that isn't what the run was made of.

Leaves out making such a folder (the worker does).
"""

from pathlib import Path

from pydantic import ValidationError

from feedback.errors import AdapterRefused, RunFailed
from feedback.files import file_sha256, read_json, read_jsonl
from feedback.run_folder import SPLITS, Row, RunSpec, Split
from service.engines.adapter_format import read_adapter
from service.engines.base import BASE

RESTORE = "Restore the folder from a backup, or let `burnish train ASSISTANT` make a new run."


def read_run(folder: Path) -> tuple[RunSpec, dict[Split, list[Row]]]:
    """The specification and the rows, once every input file has the hash that run.json gives it."""
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
    return spec, {split: _read_rows(folder, split, spec) for split in SPLITS}


def _read_spec(folder: Path) -> RunSpec:
    path = folder / "run.json"
    try:
        return RunSpec.model_validate(read_json(path))
    except FileNotFoundError:
        raise RunFailed(f"{path} is missing: this is no run's folder. Give the folder that holds run.json.") from None
    except ValueError as error:  # pydantic's ValidationError is one
        raise RunFailed(f"{path} isn't a run's specification: {_first_complaint(error)}") from None


def _read_rows(folder: Path, split: Split, spec: RunSpec) -> list[Row]:
    path = folder / f"{split}.jsonl"
    if path.name not in spec.files:
        raise RunFailed(f"run.json lists no {path.name}, so it can't be trusted. {RESTORE}")
    rows: list[Row] = []
    try:
        for raw in read_jsonl(path):
            row = Row.model_validate(raw)
            if complaint := _incomplete(row):
                raise ValueError(complaint)
            rows.append(row)
    except ValueError as error:
        raise RunFailed(f"{path}, row {len(rows) + 1}: {_first_complaint(error)}") from None
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
