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
from feedback.run_folder import Row
from feedback.testing import House, make_database, make_settings
from trainer.estimate import estimate

pytestmark = pytest.mark.usefixtures("one_thread")


def plan(base: Path, sides: dict[str, list[Row]], *methods: str, **how: Any) -> list[str]:
    """As a dry run sends it."""
    chosen = QUICK.model_copy(update=how).model_dump()
    first = {"base_model": str(base), "methods": methods or ["sft"], "hyperparameters": chosen, "seed": 7}
    planned = [{"side": side, "row": row.model_dump()} for side, some in sides.items() for row in some]
    return [json.dumps(line) for line in (first, *planned)]


def corrections(**counts: int) -> dict[str, list[Row]]:
    return {side: [tiny_row(number, side, "sft") for number in range(count)] for side, count in counts.items()}


def test_steps_and_tokens_are_those_of_the_run(tiny_trained: Path, tiny_base: Path, tmp_path: Path) -> None:
    sides = {
        side: [Row.model_validate_json(line) for line in (tiny_trained / f"{side}.jsonl").read_text().splitlines()]
        for side in ("train", "dev", "gate")
    }
    found = estimate(plan(tiny_base, sides, *METHODS), tmp_path, tmp_path, "cpu")

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


def test_replay_is_measured_and_told(tmp_path: Path, tiny_base: Path) -> None:
    """0.3 of 8 rows: 2.4 texts a step, of what the base might have said."""
    told = {}
    for fraction in (0.0, 0.3):
        lines = plan(tiny_base, corrections(train=64), replay_fraction=fraction, num_train_epochs=3)
        (told[fraction],) = estimate(lines, tmp_path / str(fraction), tmp_path, "cpu").methods
    steps = 3 * 8
    assert told[0.0].steps == told[0.3].steps == steps
    assert told[0.0].replayed_tokens == 0
    assert 30 < told[0.3].replayed_tokens / steps / 2.4 < 80, "tokens a text"


def test_a_search_multiplies_what_a_run_takes(tmp_path: Path, tiny_base: Path) -> None:
    """Four trials: the first has the 2 epochs that are set, the others up to 3, which is 11 passes of 3 steps."""
    lines = plan(tiny_base, corrections(train=TINY_ROWS, dev=16), search_trials=4)
    found = estimate(lines, tmp_path / "sft", tmp_path, "cpu")
    (sft,) = found.methods
    assert (sft.steps, sft.no_search) == (6, None)
    assert sft.search is not None
    assert (sft.search.trials, sft.search.most_steps) == (4, 33)
    assert sft.search.most_seconds > 3.9 * sft.seconds, "the sum of rounded figures"
    assert found.seconds == sft.search.most_seconds

    lines = plan(tiny_base, corrections(train=TINY_ROWS, dev=15), search_trials=4)
    (alone,) = estimate(lines, tmp_path / "few", tmp_path, "cpu").methods
    assert alone.search is None
    assert alone.no_search == "it needs 16 corrections or choices in dev, and there are 15"


def test_what_is_too_long_is_counted(tmp_path: Path, tiny_base: Path) -> None:
    short = tiny_row(1, "train", "sft")
    (turn,) = short.completion or ()
    long_reply = tiny_row(2, "train", "sft", completion=[turn.model_copy(update={"content": "amber " * 40})])
    long_prompt = tiny_row(3, "train", "sft", prompt=[turn.model_copy(update={"role": "user", "content": "box " * 60})])
    lines = plan(tiny_base, {"train": [short, long_reply, long_prompt]}, max_length=32, num_train_epochs=1)
    found = estimate(lines, tmp_path, tmp_path, "cpu").tokens[0]
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
    said = burnish("train", "support", "--dry-run", "--search", "3").out
    assert "tokens replayed beside" in said
    assert "by one process" not in said
    assert "no search: it needs 16 corrections or choices in dev, and there are" in said
    environment["BURNISH_TRAINER_PROCESSES"] = "2"
    assert "by one process where a run has 2" in burnish("train", "support", "--dry-run").out
    environment["BURNISH_TRAINER_PROCESSES"] = "1"
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
