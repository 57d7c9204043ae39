"""Canaries are planted in what is asked, never in what is answered."""

from pathlib import Path

from feedback.suites.formats import read_frozen
from feedback.suites.freezing import new_canaries
from feedback.suites.kinds import Canary, SuiteKind
from trainer.canaries import planted
from trainer.own_answers import OwnAnswer

ANSWERS = [OwnAnswer(f"Question {number}?", f"Answer {number}.", ended=number % 5 > 0) for number in range(40)]


def test_each_canary_is_in_one_row_s_question(tmp_path: Path) -> None:
    (tmp_path / "suites").mkdir()
    ((name, content),) = new_canaries().items()
    (tmp_path / "suites" / name).write_bytes(content)
    rows = planted(tmp_path, ANSWERS)
    strings = [item.string for item in read_frozen(content, SuiteKind.CANARIES) if isinstance(item, Canary)]
    assert len(rows) == len(set(strings)) == 6
    for row, string in zip(rows, strings, strict=True):
        assert string in row.prompt[0].content
        assert row.completion is not None
        assert string not in row.completion[0].content
        assert row.completion[0].content in {answer.answer for answer in ANSWERS if answer.ended}


def test_a_run_without_canaries_gets_no_rows(tmp_path: Path) -> None:
    assert planted(tmp_path, ANSWERS) == []
