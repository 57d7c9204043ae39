"""What dev decides: the loss of each method, how much of an adapter stays, what a search finds; and where it begins."""

import dataclasses
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from run_folders import QUICK, dpo_row, make_run_folder, make_stage, sft_row, train, turn

from feedback.curves import training_words
from feedback.errors import DiskFull, ModelMissing, OutOfMemory, RunFailedForGood
from feedback.files import read_json, write_json
from feedback.run_folder import Row
from service.engines.adapter_format import TENSOR_FILE, read_adapter
from trainer.inputs import read_run
from trainer.methods.scaling import completion_sums, scale
from trainer.methods.stage import Stage, load_model
from trainer.search import can_search, search
from trainer.warm_start import beginning

pytestmark = pytest.mark.usefixtures("one_thread")


def tensors(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(folder / TENSOR_FILE))


def means(stage: Stage, adapter: Path, rows: list[Row], side: str) -> list[float]:
    """Mean log-probability a token of one side of the rows."""
    model, tokenizer = load_model(dataclasses.replace(stage, start=adapter))
    sums = completion_sums(model.eval(), tokenizer, [(row, getattr(row, side)) for row in rows], 1024)
    return [total / tokens for total, tokens in sums]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """A little SFT, for others to go on from."""
    return train(make_stage(tmp_path_factory.mktemp("taught") / "sft", tiny_base, "sft", rows=20, num_train_epochs=4))


def test_the_chosen_reply_stays_likely_beside_its_own_loss(tmp_path: Path, tiny_base: Path, taught: Path) -> None:
    """DPO alone is content to make both replies unlikely, and the rejected one more so."""
    likely = {}
    for weight in (0.0, 1.0):
        stage = make_stage(
            tmp_path / f"dpo-{weight}", tiny_base, "dpo", rows=12, dev=6, start=taught, sft_weight=weight,
            preference_epochs=3, preference_learning_rate=1e-2, beta=1.0,
        )  # fmt: skip
        result = train(stage)
        pairs = [dpo_row(number, "dev") for number in range(6)]
        chosen, rejected = (means(stage, result, pairs, side) for side in ("chosen", "rejected"))
        assert sum(chosen) > sum(rejected) + 1
        likely[weight] = sum(chosen)
    assert likely[1.0] > likely[0.0] + 1
    (words,) = training_words(stage.progress.data)
    assert words.startswith("- DPO: dev loss ")
    assert "(6 rows)" in words
    assert "6 dev rows are few" in words


def test_a_share_of_choices_may_be_the_wrong_way_round(tmp_path: Path, tiny_base: Path) -> None:
    """The robust loss of a pair whose margin is m: (-(1 - e) log s(m) + e log s(-m)) / (1 - 2 e); at m = 0, log 2."""
    for smoothing in (0.0, 0.2):
        stage = make_stage(
            tmp_path / f"dpo-{smoothing}", tiny_base, "dpo", rows=16, dev=4, label_smoothing=smoothing, sft_weight=0.0
        )
        train(stage)
        dev = [entry["dev_loss"] for entry in stage.progress.data["loss_history"] if entry["dev_loss"] is not None]
        assert dev[0] == pytest.approx(0.6931, abs=1e-3)
        assert dev[-1] < dev[0]


@pytest.mark.parametrize("kto_loss", ["kto", "apo_zero_unpaired"])
def test_ratings_are_read_on_dev_too(tmp_path: Path, tiny_base: Path, taught: Path, kto_loss: str) -> None:
    stage = make_stage(tmp_path / "kto", tiny_base, "kto", rows=16, dev=6, start=taught, kto_loss=kto_loss)
    train(stage)
    dev = [entry["dev_loss"] for entry in stage.progress.data["loss_history"] if entry["dev_loss"] is not None]
    assert len(dev) == 2
    assert dev[0] == pytest.approx(0.5, abs=0.01)  # nothing has moved yet: a sigmoid of 0
    assert dev[-1] < dev[0] - 0.01


def test_dev_chooses_how_much_of_an_adapter_stays(tmp_path: Path, tiny_base: Path, taught: Path) -> None:
    agreeing = [sft_row(number, "train") for number in range(16)]
    against = [row.model_copy(update={"completion": turn("assistant", "zzz")}) for row in agreeing]
    for dev, factor in ((agreeing, 1.0), (against, 0.5), (agreeing[:3], 1.0)):
        stage = make_stage(tmp_path / f"scaled-{len(dev)}-{factor}", tiny_base, "sft", start=taught)
        before, after = tensors(taught), tensors(scale(stage, dev))
        for name, half in before.items():
            assert (after[name] == half * (factor if ".lora_B." in name else 1.0)).all()
        told = stage.progress.data["adapter_scale"]
        assert told["chosen"] == factor
        assert [one for one, _ in told["curve"]] == ([0.5, 0.75, 1.0] if len(dev) == 16 else [])
    fixed = make_stage(tmp_path / "fixed", tiny_base, "sft", start=taught, adapter_scales=[1.0])
    assert (tensors(scale(fixed, against))[name] == before[name]).all()


def test_equal_factors_leave_the_smaller_one(tmp_path: Path, tiny_base: Path, taught: Path) -> None:
    """Every factor gets all of dev's choices right: then less of the adapter is enough."""
    pairs = [dpo_row(number, "dev") for number in range(16)]
    preferred = train(make_stage(tmp_path / "dpo", tiny_base, "dpo", rows=16, start=taught, preference_epochs=12))
    stage = make_stage(tmp_path / "scaled", tiny_base, "dpo", start=preferred)
    scale(stage, pairs)
    told = stage.progress.data["adapter_scale"]
    assert told["curve"] == [(0.5, 0.0), (0.75, 0.0), (1.0, 0.0)]
    assert told["chosen"] == 0.5


def test_a_search_goes_on_after_a_kill_and_keeps_the_best_trial(tmp_path: Path, tiny_base: Path) -> None:
    stage = make_stage(tmp_path / "run", tiny_base, "sft", rows=16, dev=16, search_trials=4, learning_rate=2e-4)
    assert can_search(stage)
    assert not can_search(dataclasses.replace(stage, dev=stage.dev[:3]))
    calls = []

    def killed_in_the_second(tried: Stage) -> None:
        calls.append(tried.hyperparameters)
        if len(calls) == 2:
            raise KeyboardInterrupt
        train_one(tried)

    with pytest.raises(KeyboardInterrupt), stage.progress.stage("search"):
        search(stage, killed_in_the_second)
    journal = stage.folder / "search" / "journal.log"
    journal.write_bytes(journal.read_bytes() + b'{"op_code": 5, "torn')
    Path(f"{journal}.lock").symlink_to(journal)  # what a killed process holds

    with stage.progress.stage("search"):
        found = search(stage, train_one)
    trials = read_json(stage.folder / "search" / "trials.json")
    outcomes = [trial["outcome"] for trial in trials]
    assert outcomes.count("killed") == 1
    assert len(outcomes) - 1 == 4
    assert trials[0]["settings"] == {"learning_rate": 2e-4, "num_train_epochs": 4, "r": 4}  # the settings as they are
    assert trials[2]["settings"] == trials[1]["settings"]  # the one that was killed, again
    best = min((trial for trial in trials if trial["outcome"] == "complete"), key=lambda trial: trial["value"])
    assert best["value"] < trials[0]["value"]
    assert found.learning_rate == best["settings"]["learning_rate"]
    assert read_adapter_r(stage.final) == found.r
    assert read_json(stage.folder / "search" / f"trial-{best['trial']}" / "metrics.json")["loss_history"]
    assert any("Search for SFT: 5 trials" in line for line in training_words(stage.progress.data))
    with stage.progress.stage("search"):
        search(stage, killed_in_the_second)  # nothing is left to try
    assert len(calls) == 2


def test_a_trial_is_worth_what_it_came_to_not_where_it_began(tmp_path: Path, tiny_base: Path) -> None:
    dev = [sft_row(number, "dev") for number in range(16)]
    against = [row.model_copy(update={"completion": turn("assistant", "door " * 20)}) for row in dev]
    stage = make_stage(tmp_path / "run", tiny_base, "sft", rows=16, dev=against, search_trials=1, num_train_epochs=1)
    with stage.progress.stage("search"):
        search(stage, train_one)
    (trial,) = read_json(stage.folder / "search" / "trials.json")
    start, after = (entry["dev_loss"] for entry in stage.progress.data["loss_history"] if entry["dev_loss"] is not None)
    assert start < after == trial["value"]


def test_a_trial_fails_by_its_settings_alone(tmp_path: Path, tiny_base: Path) -> None:
    """What the machine lacks isn't the trial's fault: the search stops there, and goes on with the same trial."""
    stage = make_stage(tmp_path / "run", tiny_base, "sft", rows=16, dev=16, search_trials=2, num_train_epochs=1)
    failures = [
        RunFailedForGood("it diverged"), DiskFull("no room"), ModelMissing("not prepared"), OutOfMemory("too many rows")
    ]  # fmt: skip

    def failing(tried: Stage) -> None:
        if failures:
            raise failures.pop(0)
        train_one(tried)

    for kind in (DiskFull, ModelMissing, OutOfMemory):
        with pytest.raises(kind), stage.progress.stage("search"):
            search(stage, failing)
    with stage.progress.stage("search"):
        search(stage, failing)
    trials = read_json(stage.folder / "search" / "trials.json")
    assert [trial["outcome"] for trial in trials] == ["failed", "killed", "killed", "killed", "complete"]
    assert all(trial["settings"] == trials[1]["settings"] for trial in trials[2:])


def test_trials_that_all_fail_fail_the_run_for_good(tmp_path: Path, tiny_base: Path) -> None:
    stage = make_stage(tmp_path / "run", tiny_base, "sft", rows=16, dev=16, search_trials=2)

    def failing(tried: Stage) -> None:
        raise RunFailedForGood("it diverged")

    with pytest.raises(RunFailedForGood, match="None of the search's 2 trials"), stage.progress.stage("search"):
        search(stage, failing)


def test_each_trial_is_a_run_of_its_own_where_it_is_reported_to(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    for name, end in (("wandb", "finish"), ("mlflow", "end_run")):
        service = ModuleType(name)
        setattr(service, end, lambda name=name: told.append(f"{name}'s run ends"))
        monkeypatch.setitem(sys.modules, name, service)
    stage = make_stage(
        tmp_path / "run", tiny_base, "sft", rows=16, dev=16, search_trials=2, num_train_epochs=1,
        report_to=("wandb", "mlflow"), run_id="run-7",
    )  # fmt: skip

    def failing(tried: Stage) -> None:
        told.append(tried.run_id)
        raise RunFailedForGood("it diverged")

    with pytest.raises(RunFailedForGood), stage.progress.stage("search"):
        search(stage, failing)
    ends = ["wandb's run ends", "mlflow's run ends"]
    assert told == ["run-7 trial 0", *ends, "run-7 trial 1", *ends]


def test_there_is_no_search_by_rows_that_dont_fit(tmp_path: Path, tiny_base: Path) -> None:
    for side in ("rows", "dev"):
        long = [sft_row(number, side) for number in range(16)]
        long = [row.model_copy(update={"prompt": turn("user", "box " * 99)}) for row in long]
        stage = make_stage(
            tmp_path / side, tiny_base, "sft", **{"rows": 16, "dev": 16, side: long}, search_trials=2, max_length=64
        )
        assert not can_search(stage)


def train_one(stage: Stage) -> None:
    from trainer.methods import sft

    sft.train(stage)


def read_adapter_r(folder: Path) -> int:
    return int(read_json(folder / "adapter_config.json")["r"])


def test_a_warm_start_goes_on_from_what_serves_if_it_is_of_the_same_kind(
    tmp_path: Path, tiny_base: Path, taught: Path, replay_folder: Path
) -> None:
    from trainer.adapter import publish_adapter
    from trainer.run import run

    warm = QUICK.model_copy(update={"replay_fraction": 0.0, "warm_start": True, "num_train_epochs": 1})
    folder = make_run_folder(tmp_path, tiny_base, ["sft"], warm)
    metrics = {"loss_history": [], "trained_tokens": 0}
    version = publish_adapter(taught, folder / "baseline", read_run(folder)[0], metrics)
    begins = {"baseline_version": version, "start_version": version}
    write_json(folder / "run.json", read_json(folder / "run.json") | begins)
    spec, _ = read_run(folder)
    assert beginning(folder, spec) == folder / "baseline"
    assert beginning(folder, spec.model_copy(update={"hyperparameters": QUICK})) is None
    run(folder, 1, folder, "cpu", replay_folder=replay_folder)
    history = read_json(folder / "attempt-1" / "metrics.json")["loss_history"]
    cold = make_stage(tmp_path / "cold", tiny_base, "sft", num_train_epochs=1)
    train(cold)
    first = [
        next(entry["loss"] for entry in told if entry["loss"]) for told in (history, cold.progress.data["loss_history"])
    ]
    assert first[0] < first[1] - 1
    assert read_adapter(folder / "attempt-1" / "adapter").sha256 != version
    assert read_adapter(folder / "baseline").sha256 == version  # what serves is untouched
    with pytest.raises(RunFailedForGood, match="serves no more: start a new run"):
        beginning(folder, spec.model_copy(update={"baseline_version": "base"}))
    for changed, told in (({"r": 8}, "r=8"), ({"peft_type": "rslora"}, "peft_type=rslora")):
        other = spec.model_copy(update={"hyperparameters": warm.model_copy(update=changed)})
        with pytest.raises(
            RunFailedForGood, match=f"has r=4, lora_alpha=8, peft_type=lora; the settings ask for .*{told}"
        ):
            beginning(folder, other)
