"""Data sets in TRL's formats, as Hugging Face keeps them: a folder or a file of Parquet, Arrow or JSON lines.

    messages · prompt, completion · prompt, completion, label · prompt, chosen, rejected · chosen, rejected
    question, answer (not TRL's, but many data sets', such as GSM8K)

each plain (texts) or conversational (lists of messages). Every split in a folder is read, and a bad row is told by its
file and its number there. Only data is read: no loading script runs, nothing is unpickled, nothing is fetched.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from feedback.curate.items import Turns
from feedback.errors import InvalidInput
from feedback.interchange import hh_rlhf, openai_files
from feedback.interchange.reading import beginning, each_row, understood
from feedback.interchange.records import (
    BadLine,
    Read,
    Unreadable,
    correction,
    preference,
    question_and_reply,
    rating,
    turns,
    words,
)

COLUMNS = ("messages", "prompt", "completion", "label", "chosen", "rejected", "question", "answer")
_PAIRS = ({"prompt", "completion"}, {"chosen", "rejected"}, {"question", "answer"})
SUFFIXES = (".parquet", ".arrow", ".jsonl", ".jsonl.gz", ".json", ".json.gz")
_ABOUT = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
_ROWS_AT_ONCE = 200


def recognises(row: Any) -> bool:
    return isinstance(row, dict) and any(row.keys() >= pair for pair in _PAIRS)


def recognises_file(path: Path) -> bool:
    return path.is_dir() or _is_parquet(path) or _is_arrow(path)


def read(path: Path) -> Iterator[Read]:
    for file in files_of(path):
        where = f"{file.relative_to(path)}: " if path.is_dir() else ""
        for made in _read_file(file):
            yield BadLine(made.line, f"{where}{made.reason}") if isinstance(made, BadLine) else made


def files_of(path: Path) -> list[Path]:
    """The file, or those in a folder that hold rows."""
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*") if _holds_rows(file, path))
    if not found:
        raise InvalidInput(f"{path} has no rows: there is no file with {', '.join(SUFFIXES)} in it.")
    return found


def record(line: int, row: Any) -> Iterator[Read]:
    """
    >>> [made] = record(1, {"prompt": "How tall?", "completion": "330 metres."})
    >>> made.messages, made.value["content"]
    ((('user', 'How tall?'),), '330 metres.')
    >>> asked, said = [{"role": "user", "content": "How tall?"}], [{"role": "assistant", "content": "Tall."}]
    >>> [made] = record(2, {"prompt": asked, "completion": said, "label": False})
    >>> made.reply, made.value
    ('Tall.', -1)
    >>> right = [{"role": "assistant", "content": "330 metres."}]
    >>> [made] = record(3, {"chosen": asked + right, "rejected": asked + said})
    >>> made.messages, made.reply, made.value
    ((('user', 'How tall?'),), '330 metres.', {'rejected': 'Tall.'})
    """
    if not isinstance(row, dict):
        raise Unreadable("it isn't an object")
    told = {name for name in COLUMNS if row.get(name) is not None}
    if told >= {"chosen", "rejected"}:
        if "prompt" not in told and hh_rlhf.recognises(row):
            yield from hh_rlhf.record(line, row)
        else:
            yield preference(line, *_choice(row))
    elif told >= {"prompt", "completion"}:
        question, reply = _prompt(row["prompt"]), _reply(row["completion"], "completion")
        if "label" not in told:
            yield correction(line, question, reply)
        elif row["label"] in (True, False):
            yield rating(line, question, reply, 1 if row["label"] else -1)
        else:
            raise Unreadable("`label` isn't true or false")
    elif "messages" in told:
        yield openai_files.taught(line, row["messages"])
    elif told >= {"question", "answer"}:
        yield correction(line, (("user", words(row["question"], "`question`")),), words(row["answer"], "`answer`"))
    else:
        raise Unreadable(
            "it has none of: `messages`; `prompt` and `completion`; `chosen` and `rejected`; `question` and `answer`"
        )


def _prompt(value: Any) -> Turns:
    return (("user", value),) if isinstance(value, str) else turns(value, "`prompt`")


def _reply(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    before, reply = question_and_reply(turns(value, f"`{name}`"), f"`{name}`")
    if before:
        raise Unreadable(f"`{name}` has several messages: a reply is a single one")
    return reply


def _choice(row: dict[str, Any]) -> tuple[Turns, str, str]:
    if row.get("prompt") is not None:
        return _prompt(row["prompt"]), _reply(row["chosen"], "chosen"), _reply(row["rejected"], "rejected")
    if isinstance(row["chosen"], str) or isinstance(row["rejected"], str):
        raise Unreadable("it has no `prompt`: where `chosen` and `rejected` are plain texts, it can't be told apart")
    (question, chosen), (other_question, rejected) = (
        question_and_reply(turns(row[name], f"`{name}`"), f"`{name}`") for name in ("chosen", "rejected")
    )
    if question != other_question:
        raise Unreadable("the two conversations differ before their last reply")
    return question, chosen, rejected


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────


def _holds_rows(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)  # caches, version control
    return file.is_file() and file.name.endswith(SUFFIXES) and file.name not in _ABOUT and not hidden


def _is_parquet(path: Path) -> bool:
    return path.suffix == ".parquet" or beginning(path)[:4] == b"PAR1"


def _is_arrow(path: Path) -> bool:
    return path.suffix == ".arrow" or beginning(path)[:6] == b"ARROW1"


def _read_file(file: Path) -> Iterator[Read]:
    if _is_parquet(file):
        return _columnar(file, _parquet_batches)
    if _is_arrow(file):
        return _columnar(file, _arrow_batches)
    return each_row(file, record)


def _columnar(file: Path, batches: Callable[[Path], Iterator[Any]]) -> Iterator[Read]:
    import pyarrow

    line = 0
    try:
        for batch in batches(file):
            for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
                for row in _plain_rows(batch.slice(start, _ROWS_AT_ONCE)):
                    line += 1
                    if isinstance(row, str):
                        yield BadLine(line, row)
                    else:
                        yield from understood(line, row, record)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0][:200]
        yield BadLine(line + 1, f"the file can't be read from here on: {reason}")


def _plain_rows(batch: Any) -> Iterator[dict[str, Any] | str]:
    """Rows as JSON would have them; of one with a value that Python can't hold, why it can't."""
    try:
        yield from batch.to_pylist()
    except (UnicodeDecodeError, OverflowError) as error:
        if batch.num_rows == 1:
            no_text = isinstance(error, UnicodeDecodeError)
            yield "it has bytes that aren't UTF-8" if no_text else "it has a time or a date that is out of range"
        else:
            for index in range(batch.num_rows):
                yield from _plain_rows(batch.slice(index, 1))


def _parquet_batches(file: Path) -> Iterator[Any]:
    from pyarrow import parquet

    with parquet.ParquetFile(file) as opened:
        known = _known(opened.schema_arrow.names)
        yield from opened.iter_batches(batch_size=_ROWS_AT_ONCE, columns=known)


def _arrow_batches(file: Path) -> Iterator[Any]:
    """`datasets` writes streams; other programs the file format, too."""
    from pyarrow import ipc, memory_map

    with memory_map(str(file)) as mapped:
        if beginning(file)[:6] == b"ARROW1":
            opened = ipc.open_file(mapped)
            batches = (opened.get_batch(index) for index in range(opened.num_record_batches))
        else:
            batches = iter(ipc.open_stream(mapped))
        for batch in batches:
            yield batch.select(_known(batch.schema.names))


def _known(names: list[str]) -> list[str]:
    known = [name for name in names if name in COLUMNS]
    if not known:
        raise ValueError(f"it has none of the columns {', '.join(COLUMNS)}")
    if twice := [name for name in known if known.count(name) > 1]:
        raise ValueError(f"it has the column `{twice[0]}` twice")
    return known
