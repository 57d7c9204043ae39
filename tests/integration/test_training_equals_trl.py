"""What a run's methods lose at each step is what plain TRL loses on the same rows, seed and steps."""

from pathlib import Path

import pytest
from bench.train_child import measured
from run_folders import make_stage


@pytest.mark.parametrize("method", ["sft", "dpo", "kto"])
def test_losses_and_gradients_are_those_of_trl(method: str, tmp_path: Path, tiny_base: Path) -> None:
    ours, trl = (
        measured(make_stage(tmp_path / way, tiny_base, method, num_train_epochs=2, preference_epochs=2), way)
        for way in ("ours", "trl")
    )
    assert len(ours["losses"]) == len(trl["losses"]) == 6
    assert ours["losses"] == pytest.approx(trl["losses"], rel=0.02)
    assert ours["grad_norms"] == pytest.approx(trl["grad_norms"], rel=0.05)
    assert min(ours["grad_norms"]) > 0
    assert ours["tokens"] == trl["tokens"]
