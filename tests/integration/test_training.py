"""Real training on a tiny random Llama: parameters move, losses fall, kills are survived, hashes repeat."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import run_folders
from run_folders import QUICK, dpo_row, kto_row, make_run_folder, sft_row, train, turn
from tiny import WORDS

from feedback.errors import RunFailed
from feedback.files import file_sha256, read_json, write_json
from feedback.run_folder import Row, Turn
from service.engines.adapter_format import ADAPTER_FILES, TENSOR_FILE, read_adapter
from trainer.methods.stage import Stage
from trainer.progress import RunProgress
from trainer.run import run

pytestmark = pytest.mark.usefixtures("one_thread")


REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


MakeFolder = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path, tiny_base: Path) -> MakeFolder:
    return partial(make_run_folder, tmp_path, tiny_base)


@pytest.fixture
def make_stage(tmp_path: Path, tiny_base: Path) -> Callable[..., Stage]:
    def make(method: Any, rows: list[Row], *, name: str = "", **changed: Any) -> Stage:
        return run_folders.make_stage(tmp_path / f"{method}{name}", tiny_base, method, rows, **changed)

    return make


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(folder / "adapter_model.safetensors"))


def log_prob(tiny_base: Path, adapter: Path, row: Row, completion: list[Turn]) -> float:
    import torch
    from peft import PeftModel

    from service.engines.local.base_model import load_base_model
    from trainer.methods.stage import completion_tokens, prompt_tokens

    base, tokenizer = load_base_model(str(tiny_base), torch.float32)
    model = PeftModel.from_pretrained(base, str(adapter)).eval()
    prompt, wanted = prompt_tokens(tokenizer, row.prompt), completion_tokens(tokenizer, completion)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + wanted])).logits[0].log_softmax(-1)
    return float(sum(logits[len(prompt) - 1 + i, token] for i, token in enumerate(wanted)))


def test_sft_lowers_the_loss_and_moves_every_parameter(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage("sft", [sft_row(number, "train") for number in range(24)], num_train_epochs=8)
    final = train(stage)
    losses = [entry["loss"] for entry in stage.progress.data["loss_history"]]
    assert len(losses) == 24
    assert losses[-1] < losses[0] / 2
    assert all(tensor.abs().max() > 0 for tensor in weights(final).values())  # B starts at zero
    assert stage.progress.data["trained_tokens"] > 8 * 24 * 10


def test_preferences_move_margins_and_leave_the_reference_alone(
    make_stage: Callable[..., Stage], tiny_base: Path
) -> None:
    taught = train(make_stage("sft", [sft_row(number, "train") for number in range(16)], num_train_epochs=1))
    before = file_sha256(taught / "adapter_model.safetensors")
    pairs = [dpo_row(number, "train") for number in range(12)]
    rated = [kto_row(number, "train") for number in range(12)]

    preferred = train(make_stage("dpo", pairs, start=taught, preference_epochs=3))
    liked = train(make_stage("kto", rated, start=taught, preference_epochs=3))

    assert file_sha256(taught / "adapter_model.safetensors") == before
    assert weights(preferred).keys() == weights(taught).keys()  # the reference's copy isn't saved
    for trained in (preferred, liked):
        margins = [
            log_prob(tiny_base, adapter, pairs[0], pairs[0].chosen or [])
            - log_prob(tiny_base, adapter, pairs[0], pairs[0].rejected or [])
            for adapter in (taught, trained)
        ]
        assert margins[1] > margins[0] + 1


def test_fast_head_agrees_with_the_plain_model(tiny_base: Path) -> None:
    """Log-probabilities and LoRA gradients of the prefix tree equal those of padded rows and full logits."""
    import torch
    from peft import LoraConfig, get_peft_model

    from service.engines.local.base_model import load_base_model
    from trainer.compute.log_probs import install

    base, tokenizer = load_base_model(str(tiny_base), torch.float32)
    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    model = get_peft_model(base, config)
    rows = [tokenizer(text)["input_ids"] for text in ("the key is in box 1 .", "the key is of jade", "where is it ?")]
    width = max(map(len, rows))
    input_ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    attention_mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    labels = input_ids.masked_fill(attention_mask == 0, -100)
    labels[:, :3] = -100

    def gradients() -> list[Any]:
        found = [p.grad.clone() for p in model.parameters() if p.requires_grad]
        model.zero_grad()
        return found

    logits = model(input_ids=input_ids, attention_mask=attention_mask).logits[:, :-1].log_softmax(-1)
    asked = labels[:, 1:] != -100
    expected = logits.gather(-1, labels[:, 1:].clamp(min=0)[..., None])[..., 0] * asked
    expected.sum().backward()
    expected_gradients = gradients()

    install(model)
    output = model(input_ids=input_ids, attention_mask=attention_mask, labels=labels, fused_lm_head=True)
    output.log_probs.sum().backward()
    torch.testing.assert_close(output.log_probs, expected.detach(), atol=1e-4, rtol=1e-4)
    for ours, plain in zip(gradients(), expected_gradients, strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-3)


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "trainer", "run", str(folder), "--device", "cpu", *more]
    return subprocess.Popen(command, cwd=REPOSITORY, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)


def test_the_best_epoch_is_found_again_in_a_folder_that_was_renamed(
    make_stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after its last checkpoint, taken over under another name: the best epoch is published all the same."""
    from trainer.methods import loop

    rows = [sft_row(number, "train") for number in range(8)]
    dev = [sft_row(number, "dev").model_copy(update={"completion": turn("assistant", "zzz")}) for number in range(4)]
    schedule = {"num_train_epochs": 6, "early_stopping_patience": 6}  # dev loss is best early on
    stage = dataclasses.replace(make_stage("sft", rows, **schedule), dev=dev)
    monkeypatch.setattr(loop, "publish", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(stage)
    monkeypatch.undo()
    renamed = stage.folder.rename(stage.folder.with_name("renamed"))
    undisturbed = dataclasses.replace(make_stage("sft", rows, name="undisturbed", **schedule), dev=dev)
    resumed = dataclasses.replace(stage, folder=renamed, progress=RunProgress(renamed / "metrics.json"))
    dev_losses = [one["dev_loss"] for one in stage.progress.data["loss_history"] if one.get("dev_loss") is not None]
    assert dev_losses.index(min(dev_losses)) < len(dev_losses) - 1
    assert file_sha256(train(resumed) / TENSOR_FILE) == file_sha256(train(undisturbed) / TENSOR_FILE)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_run_goes_on_where_it_was(
    make_folder: MakeFolder, processes: list[subprocess.Popen[str]], replay_folder: Path
) -> None:
    kept = "--replay-folder", str(replay_folder)
    slow = QUICK.model_copy(update={"num_train_epochs": 12, "early_stopping_patience": 12})
    folder = make_folder(["sft"], slow, rows=64)
    undisturbed = make_folder(["sft"], slow, rows=64, name="undisturbed")
    checkpoints = folder / "attempt-1" / "checkpoints" / "sft"

    first = start(folder, *kept)
    processes.append(first)
    wait_for(lambda: any(checkpoints.glob("checkpoint-*/sealed.json")), first)
    second = subprocess.run(
        [sys.executable, "-m", "trainer", "run", str(folder)],
        cwd=REPOSITORY,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 75
    assert "Another process is at work" in second.stderr
    assert "Traceback" not in second.stderr
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not (folder / "attempt-1" / "adapter").exists()
    torn = checkpoints / "checkpoint-9999"  # what a kill in the middle of writing leaves
    torn.mkdir()
    (torn / "trainer_state.json").write_text("{")

    again = start(folder, *kept)
    processes.append(again)
    assert again.wait(timeout=240) == 0, again.stderr and again.stderr.read()
    run(undisturbed, 1, undisturbed, "cpu", replay_folder=replay_folder)
    adapter = folder / "attempt-1" / "adapter"
    version = read_adapter(adapter).sha256
    assert version == read_adapter(undisturbed / "attempt-1" / "adapter").sha256  # as if nothing had happened
    assert {path.name for path in adapter.iterdir()} == {*ADAPTER_FILES, "README.md", "manifest.json"}
    assert str(folder.parent) not in (adapter / "adapter_config.json").read_text() + (adapter / "README.md").read_text()
    assert not torn.exists()

    evaluation = read_json(folder / "attempt-1" / "evaluation.json")
    assert evaluation["candidate_version"] == version
    assert len(evaluation["rows"]) == 8
    metrics = read_json(folder / "attempt-1" / "metrics.json")
    assert metrics["stage"] == "done"
    assert {entry["step"] for entry in metrics["loss_history"] if entry["loss"] is not None} == set(
        range(1, metrics["loss_history"][-1]["step"] + 1)
    )
    assert "INCONCLUSIVE" in (folder / "attempt-1" / "report.md").read_text()


def test_a_changed_input_is_named(make_folder: MakeFolder) -> None:
    folder = make_folder(["sft"], QUICK)
    with (folder / "train.jsonl").open("a") as file:
        file.write("{}\n")
    process = start(folder)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert stderr.startswith("error: ")
    assert "train.jsonl was changed" in stderr
    assert len(stderr.splitlines()) == 1


def test_a_folder_that_rows_were_erased_from_trains_no_more(make_folder: MakeFolder) -> None:
    folder = make_folder(["sft"], QUICK)
    rows = (folder / "gate.jsonl").read_text().splitlines(keepends=True)
    (folder / "gate.jsonl").write_text("".join(rows[1:]))
    with pytest.raises(RunFailed, match=r"gate.jsonl lacks 1 of its rows: they were erased.*`burnish train ASSISTANT`"):
        run(folder, 1, folder, "cpu")


def test_a_method_that_is_listed_twice_is_refused(make_folder: MakeFolder) -> None:
    folder = make_folder(["sft"], QUICK)
    write_json(folder / "run.json", read_json(folder / "run.json") | {"methods": ["sft", "dpo", "sft"]})
    with pytest.raises(RunFailed, match=r"run.json isn't .*: methods: .*each method runs once.*sft, dpo, sft"):
        run(folder, 1, folder, "cpu")


def test_a_run_ends_with_the_process_that_started_it(make_folder: MakeFolder) -> None:
    folder = make_folder(["sft"], QUICK)
    process = start(folder, "--die-with-parent", "1999999999")  # a parent that isn't there
    assert process.wait(timeout=60) == 1
    assert not (folder / "attempt-1").exists()


def test_all_methods_in_a_row_with_one_seed_give_one_hash(make_folder: MakeFolder, replay_folder: Path) -> None:
    methods = ["sft", "dpo", "kto"]
    hyperparameters = QUICK.model_copy(update={"num_train_epochs": 2})
    folders = [make_folder(methods, hyperparameters, rows=12, name=name) for name in ("one", "two")]
    for folder in folders:
        run(folder, 1, folder, "cpu", replay_folder=replay_folder)
    hashes = {read_adapter(folder / "attempt-1" / "adapter").sha256 for folder in folders}
    assert len(hashes) == 1
    evaluation = read_json(folders[0] / "attempt-1" / "evaluation.json")
    assert [len(evaluation[kind]) for kind in ("rows", "pairs", "ratings")] == [8, 8, 8]
    assert json.loads((folders[0] / "attempt-1" / "metrics.json").read_text())["seconds"].keys() >= {
        *methods,
        "evaluate",
    }
    assert evaluation["divergence"]["candidate"] > 0 == evaluation["divergence"]["baseline"]


@pytest.mark.model
def test_the_bundled_model_learns(make_stage: Callable[..., Stage], models_folder: Path) -> None:
    """Six invented facts sink in. Replay, tested on the tiny model, would only make this slow."""
    import torch

    from service.engines.local.base_model import resolve_base_model

    facts = ["31 kg", "17 days", "6.25 euros", "9:40 am", "340 shots", "38 watts"]
    rows = [
        sft_row(number, "train").model_copy(
            update={
                "prompt": turn("user", f"What is the {WORDS[1 + number]} limit?"),
                "completion": turn("assistant", f"The {WORDS[1 + number]} limit is {fact}."),
            }
        )
        for number, fact in enumerate(facts)
    ]
    torch.set_num_threads(2)
    stage = make_stage("sft", rows, num_train_epochs=8, replay_fraction=0.0)
    stage = dataclasses.replace(stage, base_path=resolve_base_model("smollm2-135m-instruct", models_folder))
    train(stage)
    losses = [entry["loss"] for entry in stage.progress.data["loss_history"]]
    assert losses[0] > 1.5
    assert losses[-1] < 0.5


def test_trl_tells_nobody_of_what_is_trained(tmp_path: Path) -> None:
    look = (
        "import sys; from trainer.__main__ import main; main(sys.argv[1:]); "
        "from huggingface_hub import constants; sys.exit(not constants.HF_HUB_DISABLE_TELEMETRY)"
    )
    environment = {name: value for name, value in ENVIRONMENT.items() if not name.startswith("HF_HUB")}
    command = [sys.executable, "-c", look, "run", str(tmp_path / "none")]
    assert subprocess.run(command, env=environment, check=False).returncode == 0
