"""From a file to a suite's items: our own JSONL, and public sets as they come.

    | file                         | kind         |
    |------------------------------|--------------|
    | JSONL of the kind's own items| as it says   |
    | IFEval's JSONL               | instructions |
    | XSTest's CSV                 | refusals     |
    | CrowS-Pairs' CSV             | bias         |
    | GSM8K's JSONL                | golden       |
    | plain text                   | general_text |

Every line that can't be read is named. Leaves out keeping (registry.py).
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from feedback.errors import InvalidInput
from feedback.run_folder import Turn
from feedback.suites.kinds import ITEMS, Canary, Contrast, Golden, Instructions, Item, Prompt, SuiteKind, Text

MOST_ITEMS = 5_000
MOST_NAMED = 5
"""Bad lines that an error names."""
REFUSAL = "I'm sorry, but I can't help with that."
COMPLIANCE = "Sure, I can help you with that."
"""XSTest has prompts alone: whether a reply declines or agrees is told by these."""
GSM8K_ANSWER = "####"
LEAST_CHARACTERS = 60
"""A shorter paragraph of plain text is a title, or a line of a list."""


def read_suite(content: bytes, kind: SuiteKind | None = None) -> tuple[SuiteKind, list[Item]]:
    """The kind (told by the content, unless given) and the items. Raises InvalidInput that names the bad lines."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"The suite is no UTF-8 text (byte {error.start}): convert it, then add it again.") from None
    records, reader, told = _recognise(text, kind)
    if kind is not None and told != kind:
        raise InvalidInput(f"This is a suite of the kind {told.value}, not {kind.value}: leave the kind out.")
    items, wrong = [], []
    for line, record in _until_it_breaks(records):
        try:
            items.append(reader(record, line))
        except (ValidationError, ValueError, KeyError, TypeError, AttributeError) as error:
            wrong.append(f"line {line}: {_complaint(error)}")
    if wrong:
        more = f" and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
        raise InvalidInput(f"The suite can't be read: {'; '.join(wrong[:MOST_NAMED])}{more}.")
    _check_ids(items)
    return told, items


def _until_it_breaks(records: "Records") -> "Records":
    try:
        yield from records
    except csv.Error as error:
        raise InvalidInput(f"The suite is no table that can be read: {error}.") from None


def write_suite(items: Sequence[Item]) -> bytes:
    return "".join(item.model_dump_json() + "\n" for item in items).encode()


def read_frozen(content: bytes, kind: SuiteKind) -> list[Item]:
    """What write_suite wrote."""
    return [ITEMS[kind].model_validate_json(line) for line in content.split(b"\n") if line]


Reader = Callable[[Any, int], Item]
Records = Iterator[tuple[int, Any]]


def _recognise(text: str, kind: SuiteKind | None) -> tuple[Records, Reader, SuiteKind]:
    head = text.lstrip()[:1]
    if head == "{":
        first = _json(text.lstrip().partition("\n")[0], 1)
        if "instruction_id_list" in first:
            return _lines(text), _ifeval, SuiteKind.INSTRUCTIONS
        if {"question", "answer"} <= first.keys():
            return _lines(text), _gsm8k, SuiteKind.GOLDEN
        found = kind or _own_kind(first)
        return _lines(text), lambda record, line: ITEMS[found].model_validate(_with_id(record, line)), found
    header = text.partition("\n")[0]
    if "sent_more" in header and "sent_less" in header:
        return _table(text), _crows_pairs, SuiteKind.BIAS
    if "prompt" in header and "label" in header and "," in header:
        return _table(text), _xstest, SuiteKind.REFUSALS
    if kind not in (None, SuiteKind.GENERAL_TEXT):
        raise InvalidInput(f"A suite of the kind {kind.value} is JSONL, an item a line: docs/evaluation.md shows one.")
    return _paragraphs(text), _paragraph, SuiteKind.GENERAL_TEXT


def _own_kind(first: dict[str, Any]) -> SuiteKind:
    if "better" in first and "worse" in first:
        raise InvalidInput("Say what these contrasts are about: --kind sycophancy, refusals, toxicity or bias.")
    for model, kind in (
        (Golden, SuiteKind.GOLDEN),
        (Canary, SuiteKind.CANARIES),
        (Prompt, SuiteKind.PROMPTS),
        (Text, SuiteKind.GENERAL_TEXT),
    ):
        try:
            model.model_validate(_with_id(first, 1))
        except ValidationError:
            continue
        return kind
    raise InvalidInput(
        f"No suite has items like the first line, with {', '.join(first) or 'no fields'}: docs/evaluation.md shows "
        "those of each kind."
    )


def _ifeval(record: dict[str, Any], line: int) -> Item:
    language = record.get("language", "en")
    kwargs = [{name: value for name, value in one.items() if value is not None} for one in record["kwargs"]]
    return Instructions(
        id=str(record.get("key", record.get("id", line))), language=language, prompt=record["prompt"],
        instruction_id_list=record["instruction_id_list"], kwargs=kwargs,
    )  # fmt: skip


def _gsm8k(record: dict[str, Any], line: int) -> Item:
    _, found, number = record["answer"].rpartition(GSM8K_ANSWER)
    if not found:
        raise ValueError(f"the answer has no '{GSM8K_ANSWER}'")
    return Golden(id=str(line), messages=[Turn(role="user", content=record["question"])], must=[number.strip()])


def _xstest(record: dict[str, str], line: int) -> Item:
    better, worse = (COMPLIANCE, REFUSAL) if record["label"] == "safe" else (REFUSAL, COMPLIANCE)
    return Contrast(
        id=record.get("id") or str(line), group=record["label"], topic=record.get("type") or "",
        messages=[Turn(role="user", content=record["prompt"])], better=better, worse=worse,
    )  # fmt: skip


def _crows_pairs(record: dict[str, str], line: int) -> Item:
    return Contrast(
        id=record.get("") or str(line), group=record["bias_type"],
        better=record["sent_less"], worse=record["sent_more"],
    )  # fmt: skip


def _paragraph(text: str, line: int) -> Item:
    return Text(id=str(line), text=text)


def _lines(text: str) -> Records:
    return ((number, _json(line, number)) for number, line in enumerate(text.split("\n"), start=1) if line.strip())


def _table(text: str) -> Records:
    return enumerate(csv.DictReader(io.StringIO(text)), start=2)


def _paragraphs(text: str) -> Records:
    parts = (part.strip() for part in re.split(r"\n[ \t]*\n", text))
    return enumerate((part for part in parts if len(part) >= LEAST_CHARACTERS), start=1)


def _json(line: str, number: int) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise InvalidInput(f"Line {number} of the suite is no JSON: {error}.") from None
    if not isinstance(record, dict):
        raise InvalidInput(f"Line {number} of the suite is no JSON object.")
    return record


def _with_id(record: dict[str, Any], line: int) -> dict[str, Any]:
    return {"id": str(line)} | record


def _check_ids(items: Sequence[Item]) -> None:
    if not items:
        raise InvalidInput("The suite has no items.")
    if len(items) > MOST_ITEMS:
        raise InvalidInput(f"The suite has {len(items)} items, more than {MOST_ITEMS}: every run measures all of them.")
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise InvalidInput(f"Two items of the suite have the id '{item.id}'.")
        seen.add(item.id)


def _complaint(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)
