"""Questions and their right answers in a spreadsheet's CSV: commas, semicolons or tabs, with or without a header.

A header names a column for the question and one for the answer, and maybe `contributor` and `comment`; without one
there are exactly two columns. A quote that is opened and never closed costs its own line only. A text that a
spreadsheet would take for a formula is written with an apostrophe before it, which is taken off again.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from feedback.errors import InvalidInput
from feedback.interchange.reading import lines
from feedback.interchange.records import BadLine, Read, Unreadable, correction

QUESTION = ("question", "prompt", "instruction", "input", "user", "query")
ANSWER = ("answer", "response", "reply", "completion", "output", "assistant", "correction")
_MORE = ("contributor", "comment")
_DELIMITERS = (",", ";", "\t")
_MOST_CHARACTERS = 1 << 17
"""Of one record, over all its lines."""
_Line = tuple[int, bytes] | BadLine
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


@dataclass(frozen=True)
class Layout:
    delimiter: str
    columns: dict[str, int]
    """Where `question`, `answer`, … are."""
    header: bool
    width: int
    """Columns that the first line has."""


def recognises_file(path: Path) -> bool:
    """By its name, or by a header: two columns without one could be anything."""
    if {".csv", ".tsv"} & {*path.suffixes}:
        return True
    layout = _layout(path)
    return layout is not None and layout.header


def read(path: Path) -> Iterator[Read]:
    """
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "answers.csv"
    ...     _ = file.write_text('Question;Answer\\n"How tall;\\nis it?";330 metres.\\nWhy?;\\n')
    ...     taught, bad = read(file)
    >>> taught.line, taught.messages, taught.value["content"]
    (2, (('user', 'How tall;\\nis it?'),), '330 metres.')
    >>> bad
    BadLine(line=4, reason='the answer is empty')
    """
    layout = layout_of(path)
    fields = _records(path, layout.delimiter)
    if layout.header:
        next(fields)
    for made in fields:
        if isinstance(made, BadLine):
            yield made
            continue
        line, row = made
        try:
            told = {name: unprotected(row[at]) for name, at in layout.columns.items() if at < len(row)}
            if missing := {"question", "answer"} - told.keys():
                raise Unreadable(f"it has {len(row)} columns, and the {max(missing)} is missing")
            if any(field.strip() for field in row[layout.width :]):
                raise Unreadable(
                    f"it has {len(row)} columns where the first line has {layout.width}: put quotes around a text "
                    f"with {layout.delimiter!r} in it"
                )
            more = {name: told[name].strip() or None for name in _MORE if name in told}
            yield correction(line, (("user", told["question"]),), told["answer"], **more)
        except Unreadable as error:
            yield BadLine(line, str(error))


def layout_of(path: Path) -> Layout:
    if (layout := _layout(path)) is None:
        raise InvalidInput(
            f"{path} has no column for the question or none for the answer: name them `question` and `answer` in the "
            f"first line (also {', '.join(QUESTION[1:])}; {', '.join(ANSWER[1:])})."
        )
    return layout


def protected(text: str) -> str:
    """
    >>> [protected(text) for text in ("=1+1", "-5", "'=1", "5 = 5", "'tis")]
    ["'=1+1", "'-5", "''=1", '5 = 5', "'tis"]
    """
    return f"'{text}" if _FORMULA.match(text) else text


def unprotected(text: str) -> str:
    """
    >>> [unprotected(protected(text)) for text in ("=1+1", "'=1", "''-", "'tis", "-")]
    ['=1+1', "'=1", "''-", "'tis", '-']
    """
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def _layout(path: Path) -> Layout | None:
    for delimiter in _DELIMITERS:
        first = next(_records(path, delimiter), None)
        if first is None or isinstance(first, BadLine):
            continue
        names = [name.strip().casefold() for name in first[1]]
        question, answer = (next((name for name in known if name in names), None) for known in (QUESTION, ANSWER))
        if question and answer:
            found = {"question": names.index(question), "answer": names.index(answer)}
            found |= {name: names.index(name) for name in _MORE if name in names}
            return Layout(delimiter, found, header=True, width=len(names))
    for delimiter in _DELIMITERS:
        begin = [made for made in islice(_records(path, delimiter), 20) if not isinstance(made, BadLine)]
        if begin and all(len(row) == 2 for _, row in begin):
            return Layout(delimiter, {"question": 0, "answer": 1}, header=False, width=2)
    return None


def _records(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]] | BadLine]:
    """Rows with the number of their first line. One that can't be read loses that line; the rest is read anew.

    No line is read more than twice, as a first one and as a later one: what fails behind an open quote always does.
    """
    feed = _Feed(path)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    while True:
        feed.taken.clear()
        try:
            row = next(reader, None)
        except csv.Error as error:
            reason = str(error).replace("unexpected end of data", "a quote is never closed")
            yield BadLine(_number(feed.taken[0]), reason)
            feed.put_back(reason)
            reader = csv.reader(feed, delimiter=delimiter, strict=True)
            continue
        if row is None:
            return
        if any(field.strip() for field in row):
            yield _number(feed.taken[0]), row


class _Feed:
    """A file's lines for csv.reader, remembering which ones the current record took."""

    def __init__(self, path: Path) -> None:
        self.taken: list[_Line] = []
        self._again: deque[tuple[_Line, str]] = deque()
        """With why a record fails whose quote is still open there."""
        self._lines = lines(path)
        self._characters = 0

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        if not self.taken:
            self._characters = 0
        elif self._again:
            raise csv.Error(self._again[0][1])
        line = self._again.popleft()[0] if self._again else next(self._lines)
        self.taken.append(line)
        if isinstance(line, BadLine):
            raise csv.Error(line.reason)
        try:
            text = line[1].decode()
        except UnicodeDecodeError as error:
            raise csv.Error(f"it isn't UTF-8 (byte {error.start + 1} of the line)") from None
        self._characters += len(text)
        if self._characters > _MOST_CHARACTERS:
            raise csv.Error(f"it has more than {_MOST_CHARACTERS} characters, or a quote is never closed")
        return text

    def put_back(self, reason: str) -> None:
        """All that was taken but the first line, behind which the record failed."""
        self._again.extendleft((line, reason) for line in self.taken[:0:-1])


def _number(line: _Line) -> int:
    return line.line if isinstance(line, BadLine) else line[0]
