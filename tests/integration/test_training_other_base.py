"""Moving to another base model: trained on the new one, judged against what serves on the old one, on one measure."""

import asyncio
from pathlib import Path

import pytest
from run_folders import QUICK, make_run_folder
from tiny import make_tiny_base

from feedback.files import read_json, write_json
from feedback.run_folder import RunSpec
from service.engines.base import ScoreRequest
from service.engines.local.engine import LocalEngine
from trainer.evaluation.two_bases import BYTES_A_TOKEN
from trainer.inputs import read_run
from trainer.run import run

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_move_to_another_base_is_judged_against_the_old_one(tmp_path: Path, tiny_base: Path) -> None:
    """The old base cuts texts into letters: its sums over a text, of four bytes each, are what is compared."""
    older = make_tiny_base(tmp_path / "older", seed=1, by_letter=True)
    folder = make_run_folder(tmp_path, tiny_base, ["sft"], QUICK)
    spec = RunSpec.model_validate(read_json(folder / "run.json"))
    moving = spec.model_copy(update={"baseline_base_model": str(older), "purpose": "replace"})
    write_json(folder / "run.json", moving.model_dump())
    assert run(folder, 1, tmp_path, "cpu", "float32") is not None
    found = read_json(folder / "attempt-1" / "evaluation.json")
    assert (found["base_model"], found["baseline_base_model"]) == (str(tiny_base), str(older))
    assert found["divergence"] is None
    assert "instead of" in (folder / "attempt-1" / "report.md").read_text()

    rows = {row.id: row for row in read_run(folder)[1]["gate"]}
    measured = found["rows"][0]
    row = rows[measured["id"]]
    assert row.completion is not None
    text = row.completion[0].content

    async def by_the_old_one() -> float:
        engine = LocalEngine(str(older), tmp_path, device="cpu", dtype="float32", threads=1)
        await engine.start()
        try:
            asked = ScoreRequest([turn.model_dump() for turn in row.prompt], text)
            return sum((await engine.score([asked]))[0])
        finally:
            await engine.close()

    total = asyncio.run(by_the_old_one())
    assert measured["baseline"]["loss"] == pytest.approx(-total * BYTES_A_TOKEN / len(text.encode()), rel=1e-4)
    assert measured["baseline"]["loss"] != pytest.approx(measured["candidate"]["loss"], rel=0.01)
