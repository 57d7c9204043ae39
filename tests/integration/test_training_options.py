"""Every kind of adapter trains; what is served says in the engine what it says in PEFT; the rest is refused."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from run_folders import QUICK, make_run_folder, make_stage, sft_row

from feedback.errors import InvalidInput
from feedback.files import read_json
from feedback.hyperparameters import SERVED, PeftType
from feedback.testing import House
from service.engines.adapter_format import TENSOR_FILE, read_adapter
from service.engines.base import ScoreRequest
from trainer.adapter import publish_adapter
from trainer.inputs import read_run
from trainer.run import run

pytestmark = pytest.mark.usefixtures("one_thread")


ROWS = [sft_row(number, "dev") for number in range(4)]


def peft_log_probs(base: Path, adapter: Path | None) -> list[float]:
    """The rows' completions under PEFT's own model (None: the bare base), in float32: each one's sum."""
    import torch
    from peft import PeftModel

    from service.engines.local.base_model import load_base_model
    from trainer.methods.stage import completion_tokens, prompt_tokens

    model, tokenizer = load_base_model(str(base), torch.float32)
    model = PeftModel.from_pretrained(model, str(adapter)).eval() if adapter else model.eval()
    sums = []
    for row in ROWS:
        prompt, wanted = prompt_tokens(tokenizer, row.prompt), completion_tokens(tokenizer, row.completion)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + wanted])).logits[0].log_softmax(-1)
        sums.append(float(sum(logits[len(prompt) - 1 + at, token] for at, token in enumerate(wanted))))
    return sums


async def engine_log_probs(base: Path, versions: dict[str, Path]) -> dict[str, list[float]]:
    """The same, as the engine that serves scores them, all versions loaded together."""
    from service.engines.local.engine import LocalEngine

    engine = LocalEngine(str(base), base, device="cpu", dtype="float32", threads=1)
    await engine.start()
    try:
        for version, folder in versions.items():
            await engine.load(version, folder)
        requests = [
            ScoreRequest(
                [{"role": "user", "content": row.prompt[0].content}], (row.completion or [])[0].content, version
            )
            for version in versions
            for row in ROWS
        ]
        sums = [sum(scores) for scores in await engine.score(requests)]
    finally:
        await engine.close()
    return {version: sums[at * len(ROWS) :][: len(ROWS)] for at, version in enumerate(versions)}


def losses(stage: Any) -> list[float]:
    return [entry["loss"] for entry in stage.progress.data["loss_history"] if entry["loss"] is not None]


def test_what_is_served_says_in_the_engine_what_it_says_in_peft(tmp_path: Path, tiny_base: Path) -> None:
    """AdaLoRA's own format, saved by PEFT, against the plain LoRA that is made of it."""
    from trainer.methods import sft
    from trainer.methods.loop import publish

    spec, _ = read_run(make_run_folder(tmp_path, tiny_base, ["sft"], QUICK))
    expected: dict[str, list[float]] = {}
    folders: dict[str, Path] = {}
    for peft_type in SERVED:
        stage = make_stage(tmp_path / peft_type, tiny_base, "sft", dev=4, peft_type=peft_type, num_train_epochs=8)
        with stage.progress.stage("sft"):
            trainer = sft.build(stage)
            trainer.train()
            trainer.model.save_pretrained(str(stage.folder / "peft"), selected_adapters=["default"])
            publish(stage, trainer)
        assert losses(stage)[-1] < losses(stage)[0] / 2, peft_type
        version = publish_adapter(stage.final, tmp_path / f"{peft_type}-published", spec, stage.progress.data)
        folders[version] = tmp_path / f"{peft_type}-published"
        expected[version] = peft_log_probs(tiny_base, stage.folder / "peft")
    served = asyncio.run(engine_log_probs(tiny_base, folders))
    for version, sums in expected.items():
        assert served[version] == pytest.approx(sums, abs=2e-3), folders[version]

    adalora = read_adapter(tmp_path / "adalora-published")
    kept = [
        int((b.abs().sum(0) > 0).sum())
        for name, b in weights(tmp_path / "adalora-published").items()
        if ".lora_B." in name
    ]
    assert adalora.r <= 6  # it began with 1.5 times r
    assert len(set(kept)) > 1 or sum(kept) <= 4 * len(kept)


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    halves = load_file(folder / TENSOR_FILE)
    # a rank that AdaLoRA took away has no A: what is left of its B counts for nothing
    return {
        name: half * (halves[name.replace(".lora_B.", ".lora_A.")].abs().sum(1) > 0) if ".lora_B." in name else half
        for name, half in halves.items()
    }


@pytest.mark.parametrize("peft_type", ["dora", "prefix_tuning"])
def test_what_cannot_be_served_trains_by_hand_and_is_kept_apart(
    tmp_path: Path, tiny_base: Path, peft_type: PeftType
) -> None:
    chosen = QUICK.model_copy(
        update={"peft_type": peft_type, "learning_rate": 3e-2, "num_train_epochs": 6, "replay_fraction": 0.0}
    )
    folder = make_run_folder(tmp_path, tiny_base, ["sft"], chosen)
    verdict = run(folder, 1, folder, "cpu")
    attempt = folder / "attempt-1"
    assert verdict.verdict.value == "BLOCKED"
    assert f"{peft_type} can't be served" in verdict.reasons[0]
    assert not (attempt / "adapter").exists()
    history = read_json(attempt / "metrics.json")["loss_history"]
    fell = [entry["dev_loss"] for entry in history if entry["dev_loss"] is not None]
    assert min(fell) < fell[0] - 0.5
    assert "dev loss" in (attempt / "report.md").read_text()
    learned, bare = (sum(peft_log_probs(tiny_base, adapter)) for adapter in (attempt / "unserved", None))
    assert learned > bare + 10


def test_an_assistant_is_refused_what_cannot_be_served(embedded: House) -> None:
    from feedback import assistants

    with embedded.database.write() as session:
        assistant = assistants.get_assistant(session, embedded.name)
        with pytest.raises(
            InvalidInput, match=r"hyperparameters: peft_type dora can't be served.*lora, rslora, adalora"
        ):
            assistants.set_policies(session, assistant, {"hyperparameters": {"peft_type": "dora"}}, actor="test")
        changes = {"hyperparameters": {"peft_type": "adalora", "warm_start": True}}
        with pytest.raises(InvalidInput, match="warm_start goes on from a LoRA, not as adalora"):
            assistants.set_policies(session, assistant, changes, actor="test")
        kept = assistants.set_policies(session, assistant, {"hyperparameters": {"peft_type": "rslora"}}, actor="test")
    assert kept.hyperparameters.peft_type == "rslora"
