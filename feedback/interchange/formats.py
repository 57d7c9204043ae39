"""The formats that can be imported, and which one a file has."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from feedback.errors import InvalidInput
from feedback.interchange import (
    hh_rlhf,
    hugging_face,
    open_webui,
    openai_files,
    ours,
    pandalm,
    question_answer_csv,
)
from feedback.interchange.reading import beginning, rows
from feedback.interchange.records import BadLine, Read

_LOOKED_AT = 50
"""Rows that are looked at: the first one may be broken."""


@dataclass(frozen=True)
class Format:
    name: str
    about: str
    read: Callable[[Path], Iterator[Read]]
    recognises_row: Callable[[Any], bool] = lambda row: False
    require: Callable[[Path], object] = lambda path: None
    """Raises InvalidInput where a file of this format has nothing to import."""
    remarks: Callable[[Path], list[str]] = lambda path: []
    """What to tell of a file as a whole, beside what becomes of its rows."""


FORMATS = (
    Format("burnish", "JSONL of `burnish feedback export`", ours.read, ours.recognises),
    Format("open-webui", "Open WebUI's feedback export", open_webui.read, open_webui.recognises),
    Format("hh-rlhf", "transcripts, chosen and rejected", hh_rlhf.read, hh_rlhf.recognises),
    Format("pandalm", "two replies and annotators' votes", pandalm.read, pandalm.recognises),
    Format("openai", "OpenAI's fine-tuning JSONL, SFT and DPO", openai_files.read, openai_files.recognises),
    Format(
        "hugging-face",
        "a folder or file of Parquet, Arrow or JSON in TRL's formats",
        hugging_face.read,
        hugging_face.recognises,
        hugging_face.files_of,
    ),
    Format(
        "csv",
        "columns `question` and `answer`",
        question_answer_csv.read,
        require=question_answer_csv.layout_of,
        remarks=question_answer_csv.remarks,
    ),
)


def get_format(name: str) -> Format:
    for known in FORMATS:
        if known.name == name:
            return known
    raise InvalidInput(f"There is no format '{name}': there are {_listed()}.")


def detect(path: Path, name: str | None = None) -> Format:
    """The format that `name` says, or else the file's content. Raises InvalidInput where there is nothing to import."""
    if not path.is_dir():
        if not path.exists():
            raise InvalidInput(f"There is no file {path}.")
        if not path.is_file():
            raise InvalidInput(f"{path} is neither a file nor a folder.")
        begin = beginning(path)
        if path.stat().st_size == 0:
            raise InvalidInput(f"{path} is empty.")
        if begin[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise InvalidInput(f"{path} is UTF-16: save it as UTF-8, e.g. `iconv -f UTF-16 -t UTF-8 OLD > NEW`.")
    found = get_format(name) if name else _by_content(path)
    if path.is_dir() and found.name != "hugging-face":
        raise InvalidInput(f"{path} is a folder, which only the format hugging-face reads: name a file.")
    found.require(path)
    return found


def _by_content(path: Path) -> Format:
    if hugging_face.recognises_file(path):
        return get_format("hugging-face")
    for row in islice(rows(path), _LOOKED_AT):
        if isinstance(row, BadLine):
            continue
        for known in FORMATS:
            if known.recognises_row(row[1]):
                return known
    if question_answer_csv.recognises_file(path):
        return get_format("csv")
    raise InvalidInput(f"{path} has no format that is known: say `--format` with one of {_listed()}.")


def _listed() -> str:
    return ", ".join(f"{known.name} ({known.about})" for known in FORMATS)
