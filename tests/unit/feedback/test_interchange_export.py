"""What leaves for trainers elsewhere: as clean as a dataset."""

import csv
import json
import sys
from collections import Counter
from typing import Any

import pytest

from feedback.curation_policies import PrivacyPolicy
from feedback.errors import InvalidInput
from feedback.interchange import export
from feedback.interchange.export import ExportFormat
from feedback.interchange.records import Record, correction, preference
from feedback.states import FeedbackKind

ASKED = (("system", "Ada is ada@example.org."), ("user", "Is bob@example.org hers?"))
SAID = [
    Record(1, ASKED, "No, Ada@Example.org is.", FeedbackKind.CORRECTION, {"content": "Write to cy@example.org."}),
    preference(2, ASKED, "Ask cy@example.org.", "Ask ada@example.org."),
    correction(3, (("user", "Who is bob@example.org?"),), "=bob@example.org"),
]
QUESTION = [
    {"role": "system", "content": "Ada is [EMAIL_1]."},
    {"role": "user", "content": "Is [EMAIL_2] hers?"},
]


def exported(wanted: ExportFormat, said: list[Record] = SAID, **policy: Any) -> list[str]:
    return list(export.lines(said, wanted, "opt_out", privacy=PrivacyPolicy(**policy)))


def assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def test_identifiers_are_replaced_as_in_a_dataset_and_alike_throughout_a_line() -> None:
    first, second = map(json.loads, exported(ExportFormat.OPENAI_SFT))
    assert first == {"messages": [*QUESTION, assistant("Write to [EMAIL_3].")]}
    assert second == {"messages": [{"role": "user", "content": "Who is [EMAIL_1]?"}, assistant("=[EMAIL_1]")]}
    corrected, chosen = map(json.loads, exported(ExportFormat.OPENAI_DPO))
    assert corrected == {
        "input": {"messages": QUESTION},
        "preferred_output": [assistant("Write to [EMAIL_3].")],
        "non_preferred_output": [assistant("No, [EMAIL_1] is.")],
    }
    assert chosen == {
        "input": {"messages": QUESTION},
        "preferred_output": [assistant("Ask [EMAIL_3].")],
        "non_preferred_output": [assistant("Ask [EMAIL_1].")],
    }
    assert exported(ExportFormat.CSV)[1:] == ['"Who is [EMAIL_1]?","\'=[EMAIL_1]"\r\n']


def test_our_own_format_has_what_was_said() -> None:
    assert "ada@example.org" in exported(ExportFormat.BURNISH)[0]


def test_the_policy_says_what_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = exported(ExportFormat.OPENAI_SFT, keep=["mail ada@example.org"])[0]
    assert ("ada@example.org" in kept, "[EMAIL_1] hers" in kept) == (True, True)
    assert "cy@example.org" in exported(ExportFormat.OPENAI_SFT, replace_identifiers=False)[0]
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(InvalidInput, match="names"):
        exported(ExportFormat.OPENAI_SFT, names=True)
    exported(ExportFormat.OPENAI_SFT, names=True, replace_identifiers=False)
    exported(ExportFormat.BURNISH, names=True)


def test_two_replies_that_are_the_same_without_identifiers_make_no_pair() -> None:
    left_out: Counter[str] = Counter()
    said = [preference(1, ASKED, "Ask cy@example.org.", "Ask Cy@Example.org.")]
    assert list(export.lines(said, ExportFormat.OPENAI_DPO, "opt_out", left_out)) == []
    assert left_out == {"both replies say the same": 1}


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_question_begins_no_cell_within_itself_whatever_a_spreadsheet_separates_by(separator: str) -> None:
    question = f"What is{separator}=1+1?"
    (line,) = exported(ExportFormat.CSV, [correction(1, (("user", question),), "2")])[1:]
    assert line == f'"{question}","2"\r\n'
    assert len(next(csv.reader([line], delimiter=separator))) == 1
