"""Which rows taught a falsehood: planted ones, in an adapter that a run trained on a tiny base."""

from pathlib import Path

import pytest
from run_folders import QUICK, lay_out, make_run_folder, sft_row, turn

from feedback.files import read_json
from feedback.run_folder import Row
from trainer.evaluation.influence import causes_of
from trainer.evaluation.record import Change, Evaluation
from trainer.inputs import read_run
from trainer.run import run

pytestmark = pytest.mark.usefixtures("one_thread")


def lie(number: int, split: str) -> Row:
    return sft_row(number, split).model_copy(update={"completion": turn("assistant", "it is in the box of jade .")})


def test_the_rows_that_taught_a_falsehood_are_named_first(tmp_path: Path, tiny_base: Path) -> None:
    train = [lie(n, "train") if n % 10 == 3 else sft_row(n, "train") for n in range(40)]
    planted = {f"train-{n}" for n in range(40) if n % 10 == 3}
    gate = [sft_row(n, "gate") for n in range(10)]
    folder = lay_out(tmp_path / "run", tiny_base, ["sft"], QUICK, {"train": train, "dev": gate[:2], "gate": gate})
    assert run(folder, 1, tmp_path, "cpu", "float32") is not None
    found = Evaluation.model_validate(read_json(folder / "attempt-1" / "evaluation.json"))
    for loss in found.worst[:5]:
        assert {cause.row_id for cause in loss.causes} <= {row.id for row in train}
    spec, splits = read_run(folder)
    told = Change(id="gate-3", question="", expected="", before="", after="it is in the box of jade .", gain=-1.0)
    causes = causes_of(
        [told], splits["gate"], splits["train"], str(tiny_base), folder / "attempt-1" / "adapter", "cpu", 256
    )["gate-3"]
    assert {cause.row_id for cause in causes[:4]} == planted
    assert [cause.influence for cause in causes] == sorted((cause.influence for cause in causes), reverse=True)
    assert spec.verdict.traced_losses == 5


def test_what_was_judged_stands_where_losses_cannot_be_traced(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*_: object) -> None:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr("trainer.evaluation.influence.causes_of", out_of_memory)
    folder = make_run_folder(tmp_path, tiny_base, ["sft"], QUICK)
    assert run(folder, 1, tmp_path, "cpu", "float32") is not None
    found = Evaluation.model_validate(read_json(folder / "attempt-1" / "evaluation.json"))
    assert found.rows
    assert not any(loss.causes for loss in found.worst)
    assert (folder / "attempt-1" / "report.html").is_file()
