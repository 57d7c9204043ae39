"""What was said, out again as lines of a file: all of it in our own format, or what a trainer elsewhere can learn from.

Contributors leave as keyed hashes, and only in our own format, which keeps refusals to be learned from as well; the
other formats can't, so what may not be learned from stays here, and so does what identifies people, as in a dataset:
each line is a conversation of its own to its placeholders. What is left out is counted with its reason.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from feedback.columns import now, utc
from feedback.curate.age import PAST
from feedback.curate.consent import why_not
from feedback.curation_policies import PrivacyPolicy
from feedback.interchange.ours import as_row
from feedback.interchange.question_answer_csv import protected
from feedback.interchange.records import Record, Unreadable
from feedback.states import FeedbackKind

if TYPE_CHECKING:
    from feedback.identifiers.redactor import Finder


class ExportFormat(StrEnum):
    BURNISH = "burnish"  # everything, to be imported again
    OPENAI_SFT = "openai-sft"  # corrections, as right answers
    OPENAI_DPO = "openai-dpo"  # choices, and corrections of a reply
    CSV = "csv"  # corrections of single questions, for a spreadsheet


def lines(
    records: Iterable[Record],
    wanted: ExportFormat,
    consent: str,
    left_out: Counter[str] | None = None,
    *,
    privacy: PrivacyPolicy | None = None,
) -> Iterator[str]:
    """The file's lines; `left_out` counts what isn't in it, by reason. `consent` is a states.Consent.

    `privacy` says what is replaced for trainers; without it, what a new assistant's policy says.

    >>> right = {"content": "330 m.", "key_facts": []}
    >>> said = Record(1, (("user", "How tall?"),), "Tall.", FeedbackKind.CORRECTION, right)
    >>> for wanted in ("openai-sft", "csv"):
    ...     print("".join(lines([said], ExportFormat(wanted), "opt_out")).replace("\\r", ""), end="")
    {"messages": [{"role": "user", "content": "How tall?"}, {"role": "assistant", "content": "330 m."}]}
    "question","answer"
    "How tall?","330 m."
    >>> refused = Counter()
    >>> list(lines([said], ExportFormat.OPENAI_SFT, "opt_in", refused)), refused.total()
    ([], 1)
    """
    from feedback.curate.privacy import finder_for

    make = _MAKERS[wanted]
    privacy = privacy or PrivacyPolicy()
    finder = finder_for(privacy) if wanted != ExportFormat.BURNISH and privacy.replace_identifiers else None
    if wanted == ExportFormat.CSV:
        yield _csv_line(["question", "answer"])
    for record in records:
        try:
            if wanted != ExportFormat.BURNISH:
                _require_learnable(record, consent)
            yield make(_without_identifiers(record, finder) if finder else record)
        except Unreadable as error:
            if left_out is not None:
                left_out[str(error)] += 1


def _require_learnable(record: Record, consent: str) -> None:
    if reason := why_not(record.store, record.training, consent):
        raise Unreadable(reason)
    expires_at = record.value.get("expires_at") if record.kind == FeedbackKind.CORRECTION else None
    if expires_at is not None and utc(expires_at) <= now():
        raise Unreadable(PAST)


def _without_identifiers(record: Record, finder: "Finder") -> Record:
    """What trainers get of it has placeholders; only corrections and choices go to them."""
    name = {FeedbackKind.CORRECTION: "content", FeedbackKind.PREFERENCE: "rejected"}.get(record.kind)
    if name is None or name not in record.value:
        return record
    texts = [*(content for _, content in record.messages), record.reply, record.value[name]]
    from feedback.identifiers.redactor import Redactor

    (*asked, reply, other), _ = Redactor(finder).redact(texts)
    messages = tuple((role, content) for (role, _), content in zip(record.messages, asked, strict=True))
    return replace(record, messages=messages, reply=reply, value={**record.value, name: other})


def _burnish(record: Record) -> str:
    return _json_line(as_row(record))


def _openai_sft(record: Record) -> str:
    if record.kind != FeedbackKind.CORRECTION:
        raise Unreadable("only corrections say what the right answer is")
    return _json_line({"messages": [*_messages(record), _said(record.value["content"])]})


def _openai_dpo(record: Record) -> str:
    if record.kind == FeedbackKind.PREFERENCE and "rejected" in record.value:
        chosen, rejected = record.reply, record.value["rejected"]
    elif record.kind == FeedbackKind.CORRECTION and record.reply.strip():
        chosen, rejected = record.value["content"], record.reply
    else:
        raise Unreadable("only choices, and corrections of a reply, make pairs")
    if chosen.strip() == rejected.strip():
        raise Unreadable("both replies say the same")
    return _json_line(
        {
            "input": {"messages": _messages(record)},
            "preferred_output": [_said(chosen)],
            "non_preferred_output": [_said(rejected)],
        }
    )


def _csv(record: Record) -> str:
    if record.kind != FeedbackKind.CORRECTION:
        raise Unreadable("only corrections say what the right answer is")
    if [role for role, _ in record.messages] != ["user"]:
        raise Unreadable("a conversation of several messages has no place in a table")
    return _csv_line([record.messages[0][1], record.value["content"]])


def _csv_line(fields: list[str]) -> str:
    line = io.StringIO()
    # all in quotes: a spreadsheet that separates by semicolons would begin a cell, maybe a formula, within a question
    csv.writer(line, quoting=csv.QUOTE_ALL).writerow([protected(field) for field in fields])
    return line.getvalue()


def _json_line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _messages(record: Record) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in record.messages]


def _said(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


_MAKERS: dict[ExportFormat, Callable[[Record], str]] = {
    ExportFormat.BURNISH: _burnish,
    ExportFormat.OPENAI_SFT: _openai_sft,
    ExportFormat.OPENAI_DPO: _openai_dpo,
    ExportFormat.CSV: _csv,
}
