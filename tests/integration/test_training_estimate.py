"""What a run would take, held against what it takes; asked for on the command line, nothing is left of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from burnish_server import clean_environment
from said import assert_one_clear_line, say
from sqlmodel import select
from tiny_runs import METHODS, QUICK, TINY_ROWS, tiny_row

from feedback.models import DatasetVersion, Feedback, Run
from feedback.testing import House, make_database, make_settings
from trainer.estimate import estimate

pytestmark = pytest.mark.usefixtures("one_thread")


def test_steps_and_tokens_are_those_of_the_run(tiny_trained: Path, tiny_base: Path, tmp_path: Path) -> None:
    plan = {"base_model": str(tiny_base), "methods": METHODS, "hyperparameters": QUICK.model_dump(), "seed": 7}
    lines = [json.dumps(plan)]
    for side in ("train", "dev", "gate"):
        rows = [json.loads(line) for line in (tiny_trained / f"{side}.jsonl").read_text().splitlines()]
        lines += [json.dumps({"side": side, "row": row}) for row in rows]
    found = estimate(lines, tmp_path, tmp_path, "cpu")

    metrics = json.loads((tiny_trained / "attempt-1" / "metrics.json").read_text())
    drawn = [(one["stage"], one["step"]) for one in metrics["loss_history"]]
    assert {one.method: one.steps for one in found.methods} == {
        method: max(step for stage, step in drawn if stage == method) for method in METHODS
    }
    train = {one.method: one for one in found.tokens if one.side == "train"}
    assert {method: one.rows for method, one in train.items()} == dict.fromkeys(METHODS, TINY_ROWS)
    least = QUICK.num_train_epochs * train["sft"].total + train["dpo"].total + train["kto"].total
    # KTO also counts the replies that it pairs with others' prompts
    assert least <= metrics["trained_tokens"] <= least + 2 * train["kto"].total
    assert found.seconds == pytest.approx(sum(one.seconds for one in found.methods), abs=0.2)
    assert found.seconds > 0
    assert found.uncertainty >= 0.15
    assert found.peak_memory_bytes > 100_000_000


def test_what_is_too_long_is_counted(tmp_path: Path, tiny_base: Path) -> None:
    short = tiny_row(1, "train", "sft")
    (turn,) = short.completion or ()
    long_reply = tiny_row(2, "train", "sft", completion=[turn.model_copy(update={"content": "amber " * 40})])
    long_prompt = tiny_row(3, "train", "sft", prompt=[turn.model_copy(update={"role": "user", "content": "box " * 60})])
    chosen = QUICK.model_copy(update={"max_length": 32, "num_train_epochs": 1})
    plan = {"base_model": str(tiny_base), "methods": ["sft"], "hyperparameters": chosen.model_dump(), "seed": 7}
    rows = [{"side": "train", "row": row.model_dump()} for row in (short, long_reply, long_prompt)]
    found = estimate(map(json.dumps, [plan, *rows]), tmp_path, tmp_path, "cpu").tokens[0]
    assert (found.rows, found.cut, found.left_out) == (3, 1, 1)
    assert found.longest > 60
    assert found.total < 2 * 32 + 1


def test_a_dry_run_tells_what_a_run_would_take_and_leaves_nothing(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = make_settings(tmp_path, base_model=str(tiny_base))
    database = make_database(settings)
    house = House(settings, database, hyperparameters=QUICK.model_dump(), training={"min_preference_pairs": 99})
    environment = clean_environment(**settings.as_environment(), OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1")

    def burnish(*arguments: str) -> Any:
        return say(*arguments, environment=environment, monkeypatch=monkeypatch, capsys=capsys)

    assert_one_clear_line(burnish("train", "support", "--dry-run"), "Nothing to train on", "burnish dataset preview")
    for number in range(12):
        house.correct(f"{'abcdefghijkl'[number] * 9} ?", "the box .", f"the key {number} .", user=f"person-{number}")
    with database.read() as session:
        before = [(one.id, one.status, one.status_reason) for one in session.exec(select(Feedback))]
    told = burnish("train", "support", "--dry-run", "--json").value
    assert (told["assistant"], told["judging_seconds"], told["device"]) == ("support", None, "cpu")
    assert sum(one["rows"] for one in told["tokens"] if one["method"] == "sft") == 12
    assert {one["method"] for one in told["methods"]} == {one["method"] for one in told["tokens"]}
    assert told["seconds"] > 0
    assert list(settings.runs.iterdir()) == []
    with database.read() as session:
        assert [session.exec(select(table)).all() for table in (Run, DatasetVersion)] == [[], []]
        assert [(one.id, one.status, one.status_reason) for one in session.exec(select(Feedback))] == before
    database.close()
