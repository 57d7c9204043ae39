"""Questions and their right answers in a spreadsheet's CSV: commas, semicolons or tabs, with or without a header.

A header names a column for the question and one for the answer, and maybe `key_facts` (separated by semicolons),
`contributor` and `comment`; without one there are exactly two columns. Whether the first row is a header is told by the
names alone; `remarks` says what was taken for a row, and which columns aren't read. A quote that is opened and never
closed costs its own line only. A text that a spreadsheet would take for a formula is written with an apostrophe before
it, which is taken off again.
"""

import csv
import re
import unicodedata
from collections import deque
from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from feedback.errors import InvalidInput
from feedback.interchange.reading import lines
from feedback.interchange.records import BadLine, Read, Unreadable, correction

QUESTION = (
    *("question", "q", "prompt", "instruction", "input", "user", "query"),
    *("frage", "domanda", "pregunta", "pergunta", "vraag", "问题", "問題", "質問", "问"),
)
ANSWER = (
    *("correct answer", "right answer", "correction"),  # first: beside it, `answer` may be the one that was wrong
    *("answer", "a", "response", "reply", "completion", "output", "assistant"),
    *("antwort", "réponse", "reponse", "risposta", "respuesta", "resposta", "antwoord", "答案", "回答", "答"),
)
"""As `column_name` writes them; where a header has several, the first one here counts."""
_MORE = ("contributor", "comment")
_KEY_FACTS = "key_facts"
_DELIMITERS = (",", ";", "\t")
_MOST_CHARACTERS = 1 << 17
"""Of one record, over all its lines."""
_SHOWN_CHARACTERS = 40
_Line = tuple[int, bytes] | BadLine
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


@dataclass(frozen=True)
class Layout:
    delimiter: str
    columns: dict[str, int]
    """Where `question`, `answer`, … are."""
    header: bool
    first_row: tuple[str, ...]


def recognises_file(path: Path) -> bool:
    """By its name, or by a header: two columns without one could be anything."""
    if {".csv", ".tsv"} & {*path.suffixes}:
        return True
    layout = find_layout(path)
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
            width = len(layout.first_row)
            if any(field.strip() for field in row[width:]):
                raise Unreadable(
                    f"it has {len(row)} columns where the first line has {width}: put quotes around a text "
                    f"with {layout.delimiter!r} in it"
                )
            more = {name: told[name].strip() or None for name in _MORE if name in told}
            key_facts = [fact.strip() for fact in told.get(_KEY_FACTS, "").split(";") if fact.strip()]
            yield correction(line, (("user", told["question"]),), told["answer"], key_facts, **more)
        except Unreadable as error:
            yield BadLine(line, str(error))


def layout_of(path: Path) -> Layout:
    if (layout := find_layout(path)) is None:
        raise InvalidInput(
            f"{path} has no column for the question or none for the answer: name them `question` and `answer` in the "
            f"first line (also {', '.join(QUESTION)}; {', '.join(ANSWER)})."
        )
    return layout


def find_layout(path: Path) -> Layout | None:
    """None where no delimiter makes a table of questions and answers of it."""
    for delimiter in _DELIMITERS:
        first = next(_records(path, delimiter), None)
        if first is None or isinstance(first, BadLine):
            continue
        row = tuple(first[1])
        places: dict[str, int] = {}
        for place, name in enumerate(row):
            places.setdefault(column_name(name), place)
        if names := question_and_answer(places):
            found = dict(zip(("question", "answer"), (places[name] for name in names), strict=True))
            more = {name: places.get(column_name(name)) for name in (*_MORE, _KEY_FACTS)}
            found |= {name: place for name, place in more.items() if place is not None}
            return Layout(delimiter, found, header=True, first_row=row)
    for delimiter in _DELIMITERS:
        begin = [made for made in islice(_records(path, delimiter), 20) if not isinstance(made, BadLine)]
        if begin and all(len(row) == 2 for _, row in begin):
            return Layout(delimiter, {"question": 0, "answer": 1}, header=False, first_row=tuple(begin[0][1]))
    return None


def remarks(path: Path) -> list[str]:
    """What whoever imports the file should know beside what became of its rows.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "answers.csv"
    ...     for header in ("question,answer,notes", "Spørgsmål,Svar"):
    ...         _ = file.write_text(f"{header}\\nHow tall?,330 metres.\\n")
    ...         print(*remarks(file))
    the column `notes` isn't read
    the first row, `Spørgsmål` and `Svar`, isn't a header that is known: it counts as a question and its answer
    """
    layout = layout_of(path)
    if not layout.header:
        question, answer = (f"`{shortened(field)}`" for field in layout.first_row)
        return [
            f"the first row, {question} and {answer}, isn't a header that is known: it counts as a question and its "
            "answer"
        ]
    read = layout.columns.values()
    ignored = [
        f"`{shortened(name)}`" if name.strip() else f"{place} (without a name)"
        for place, name in enumerate(layout.first_row, 1)
        if place - 1 not in read
    ]
    if not ignored:
        return []
    return [f"the column {ignored[0]} isn't read" if len(ignored) == 1 else f"columns not read: {', '.join(ignored)}"]


def question_and_answer(names: Container[str]) -> tuple[str, str] | None:
    """Which of a header's names are the question's and the answer's, if both are there.

    >>> question_and_answer(("answer", "id", "correct answer", "frage"))
    ('frage', 'correct answer')
    """
    question, answer = (next((name for name in known if name in names), None) for known in (QUESTION, ANSWER))
    return (question, answer) if question and answer else None


def column_name(written: str) -> str:
    """
    >>> [column_name(written) for written in (" Correct_Answer", "key-facts", "FRAGE")]
    ['correct answer', 'key facts', 'frage']
    """
    return " ".join(re.split(r"[\s_-]+", unicodedata.normalize("NFKC", written).strip().casefold()))


def shortened(text: str) -> str:
    """On one line and with nothing that commands a terminal, for a message.

    >>> print(shortened("How\\n tall\\x1b[2J?"), shortened("so " * 30))
    How tall\\x1b[2J? so so so so so so so so so so so so so s…
    """
    line = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in " ".join(text.split()))
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]}…"


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
