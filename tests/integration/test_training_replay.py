"""What replay adds to SFT's loss is trained for, watched by the guard, and reported beside the loss, not in it."""

import json
import math
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from run_folders import make_stage, train

from feedback.errors import RunFailedForGood
from feedback.hyperparameters import Hyperparameters
from trainer.methods.guard import require_sound
from trainer.own_answers import OwnAnswer

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """What the tiny base might have said."""
    kept = tmp_path / "answers.json"
    said = [OwnAnswer(f"what is {number} ?", f"the door is in box {number} .", number % 2 == 0) for number in range(16)]
    kept.write_text(json.dumps([asdict(one) for one in said]))
    return kept


def steps(place: Path, base: Path, **how: Any) -> list[dict[str, Any]]:
    """Every step's entry of a little SFT."""
    stage = make_stage(place, base, "sft", 24, **how)
    train(stage)
    return [entry for entry in stage.progress.data["loss_history"] if entry["loss"] is not None]


def test_the_loss_is_the_rows_alone_with_the_divergence_beside_it(
    tmp_path: Path, tiny_base: Path, answers: Path
) -> None:
    """A new adapter says what the base says, so that replay asks nothing of it at the first step: whatever replay's
    weight, the losses of the first two steps are equal, and so are the divergences."""
    without = steps(tmp_path / "without", tiny_base, replay_fraction=0.0)
    light, heavy = (
        steps(tmp_path / name, tiny_base, answers=answers, replay_fraction=0.3, replay_weight=weight)
        for name, weight in (("light", 0.01), ("heavy", 30.0))
    )
    for with_replay in (light, heavy):
        assert [one["loss"] for one in with_replay[:2]] == pytest.approx([one["loss"] for one in without[:2]], abs=1e-4)
        assert with_replay[0]["replay_divergence"] == pytest.approx(0, abs=1e-6)
    assert light[1]["replay_divergence"] == pytest.approx(heavy[1]["replay_divergence"], rel=1e-3)
    assert light[1]["replay_divergence"] > 0.01
    assert heavy[-1]["replay_divergence"] < light[-1]["replay_divergence"] / 2, "it is trained for"
    assert all(one["replay_divergence"] is None for one in without)


def test_a_step_without_replay_has_no_divergence(tmp_path: Path, tiny_base: Path, answers: Path) -> None:
    some = steps(tmp_path / "some", tiny_base, answers=answers, replay_fraction=0.05)  # of 8 rows: two steps in five
    assert [one["step"] for one in some if one["replay_divergence"] is not None] == [3, 5, 8, 10]
    rises = [later["loss"] - earlier["loss"] for earlier, later in pairwise(some)]
    assert max(rises) < 0.5, "no spikes: with the divergence in it the loss rose by 1.2"


def test_the_guard_watches_the_divergence_too() -> None:
    """Also where only every other step has one: between them it is taken to be as it was."""
    chosen = Hyperparameters(replay_weight=3.0)
    calm: list[dict[str, Any]] = [
        {"step": step, "loss": 1.0, "grad_norm": 1.0} | ({"replay_divergence": 0.1} if step % 2 else {})
        for step in range(60)
    ]
    wild = [one | {"step": 60 + one["step"]} for one in calm[:10]]
    for one in wild[1::2]:
        one["replay_divergence"] = 5.0
    require_sound("sft", calm + wild, chosen)
    wild.append(wild[0] | {"step": 70})
    said = r"at step 70 the loss is 1 beside a divergence from the base of 5 \(gradient norm 1\)"
    with pytest.raises(RunFailedForGood, match=said):
        require_sound("sft", calm + wild, chosen)
    with pytest.raises(RunFailedForGood, match="not finite"):
        require_sound("sft", [*calm, calm[-1] | {"replay_divergence": math.inf}], chosen)
