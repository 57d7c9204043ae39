"""The formats that can be imported, and which one a file has."""

import codecs
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
_NAMES_SHOWN = 10


@dataclass(frozen=True)
class Format:
    name: str
    about: str
    read: Callable[[Path], Iterator[Read]]
    recognises_row: Callable[[Any], bool] = lambda row: False
    shapes: tuple[tuple[str, ...], ...] = ()
    """What rows have in it: all the names of one of these."""
    require: Callable[[Path], object] = lambda path: None
    """Raises InvalidInput where a file of this format has nothing to import."""
    remarks: Callable[[Path], list[str]] = lambda path: []
    """What to tell of a file as a whole, beside what becomes of its rows."""


FORMATS = (
    Format(
        "burnish",
        "JSONL of `burnish feedback export`",
        ours.read,
        ours.recognises,
        (("kind", "messages", "reply", "value"),),
    ),
    Format(
        "open-webui",
        "Open WebUI's feedback export",
        open_webui.read,
        open_webui.recognises,
        (("type", "data", "meta", "snapshot"),),
    ),
    Format("hh-rlhf", "transcripts, chosen and rejected", hh_rlhf.read, hh_rlhf.recognises),
    Format(
        "pandalm",
        "two replies and annotators' votes",
        pandalm.read,
        pandalm.recognises,
        (("instruction", "response1", "response2", "annotator1"),),
    ),
    Format(
        "openai",
        "OpenAI's fine-tuning JSONL, SFT and DPO",
        openai_files.read,
        openai_files.recognises,
        (("messages",), ("input", "preferred_output", "non_preferred_output")),
    ),
    Format(
        "hugging-face",
        "a folder or file of Parquet, Arrow or JSON with TRL's columns, or `question` and `answer`",
        hugging_face.read,
        hugging_face.recognises,
        (("prompt", "chosen", "rejected"), ("prompt", "completion"), ("question", "answer")),
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
    seen = None
    for row in islice(rows(path), _LOOKED_AT):
        if isinstance(row, BadLine):
            continue
        for known in FORMATS:
            if known.recognises_row(row[1]):
                return known
        seen = seen or _seen_in_row(row[1])
    if question_answer_csv.recognises_file(path):
        return get_format("csv")
    raise InvalidInput(f"{path} has no format that is known: {seen or _seen_in_text(path)}.")


def _seen_in_row(row: Any) -> str:
    """What a row has that no format recognises, and what fits nearest.

    >>> print(_seen_in_row({"instruction": "How tall?", "output": "330 metres."}))
    its first row has `instruction`, `output`. If `instruction` is a question and `output` its right answer, \
name them `question` and `answer`
    >>> print(_seen_in_row({"prompt": "How tall?", "chosen": "330 metres."}))
    its first row has `prompt`, `chosen`. It is nearest to hugging-face, but lacks `rejected`
    """
    if not isinstance(row, dict):
        return f"its first row is no object. There are {_listed()}"
    names = [f"`{question_answer_csv.shortened(name)}`" for name in row]
    more = [f"{len(names) - _NAMES_SHOWN} more"] if len(names) > _NAMES_SHOWN else []
    seen = f"its first row has {', '.join(names[:_NAMES_SHOWN] + more) or 'nothing in it'}"
    by_column = {question_answer_csv.column_name(name): name for name in row}
    if found := question_answer_csv.question_and_answer(by_column):
        question, answer = (f"`{by_column[name]}`" for name in found)
        return f"{seen}. If {question} is a question and {answer} its right answer, name them `question` and `answer`"
    shapes = [(known, shape) for known in FORMATS for shape in known.shapes]
    known, shape = max(shapes, key=lambda one: len(row.keys() & set(one[1])) / len(one[1]))
    lacking = [name for name in shape if name not in row]
    if not lacking:
        return f"{seen}. It is nearest to {known.name}: `--format {known.name}` tells what is wrong with each row"
    if len(lacking) > len(shape) / 2:
        return f"{seen}. There are {_listed()}"
    return f"{seen}. It is nearest to {known.name}, but lacks {', '.join(f'`{name}`' for name in lacking)}"


def _seen_in_text(path: Path) -> str:
    line = beginning(path).lstrip().partition(b"\n")[0]
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(line)  # the line may be cut off within a character
    except UnicodeDecodeError:
        return f"it isn't text in UTF-8. There are {_listed()}"
    seen = f"its first line, `{question_answer_csv.shortened(text)}`, is neither JSON nor a header that is known"
    if question_answer_csv.find_layout(path) is not None:
        return f"{seen}. If its two columns are questions and their answers, say `--format csv`"
    return f"{seen}. There are {_listed()}"


def _listed() -> str:
    return ", ".join(f"{known.name} ({known.about})" for known in FORMATS)
