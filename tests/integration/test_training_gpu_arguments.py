"""What reaches transformers, TRL and bitsandbytes for a GPU, on a machine without one; a 4-bit base on the CPU."""

import dataclasses
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from run_folders import make_stage, sft_row, train

from feedback.errors import RunFailedForGood
from service.engines.adapter_format import read_adapter
from trainer.adapter import KEPT_KEYS, portable_config
from trainer.methods.loading import FOUR_BITS, how_to_load
from trainer.methods.stage import arguments

ROWS = [sft_row(number, "train") for number in range(8)]


class Sized:
    """A model, as far as the arguments look at it."""

    def __init__(self, parameters: int) -> None:
        self.num_parameters = lambda: parameters


@pytest.mark.parametrize(("device", "on_gpu"), [("cuda", True), ("cpu", False)])
def test_trainers_are_told_where_they_run(tmp_path: Path, tiny_base: Path, device: str, on_gpu: bool) -> None:
    from trl import DPOConfig, KTOConfig, SFTConfig

    stage = make_stage(tmp_path / "run", tiny_base, "sft", ROWS, device=device)
    told: dict[str, Any] = arguments(stage, Sized(135_000_000), dict)
    assert told["bf16"] is on_gpu
    assert told["use_cpu"] is not on_gpu
    assert told["dataloader_pin_memory"] is on_gpu
    assert told["gradient_checkpointing"] is False
    assert arguments(stage, Sized(8_000_000_000), dict)["gradient_checkpointing"] is True
    for config in (SFTConfig, DPOConfig, KTOConfig):
        assert told.keys() <= {field.name for field in dataclasses.fields(config)}


@pytest.mark.parametrize(("processes", "spread"), [(1, (8, 1)), (2, (4, 1)), (4, (2, 1))])
def test_processes_share_the_optimizers_batch(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch, processes: int, spread: tuple[int, int]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    stage = make_stage(tmp_path / "run", tiny_base, "sft", ROWS, device="cuda")
    told = arguments(stage, Sized(1), dict)
    assert (told["per_device_train_batch_size"], told["gradient_accumulation_steps"]) == spread


@pytest.mark.parametrize(("given", "taken"), [(None, "0"), ("2,3", "2"), ("", ""), ("1", "1")])
def test_one_process_takes_one_card(tmp_path: Path, given: str | None, taken: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    environment |= {} if given is None else {"CUDA_VISIBLE_DEVICES": given}
    look = "import os, sys; from trainer.__main__ import main; main(sys.argv[1:]); print(os.environ[sys.argv[-1]])"
    command = [sys.executable, "-c", look, "run", str(tmp_path), "--models-folder", "CUDA_VISIBLE_DEVICES"]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert told.stdout == f"{taken}\n", told.stderr


def test_a_base_in_four_bits_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.methods.loading.find_spec", lambda name: None)
    assert how_to_load("cuda", in_4bit=False) == {}
    with pytest.raises(RunFailedForGood, match=r"pip install 'burnish\[quantized\]'"):
        how_to_load("cuda", in_4bit=True)


def test_flash_attention_is_taken_where_it_is_installed_and_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.methods.loading.find_spec", lambda name: name == "flash_attn")
    assert how_to_load("cuda", in_4bit=False) == {"attn_implementation": "flash_attention_2"}
    assert how_to_load("cpu", in_4bit=False) == {}


needs_bitsandbytes = pytest.mark.skipif(not find_spec("bitsandbytes"), reason="pip install 'burnish[quantized]'")


@needs_bitsandbytes
def test_bitsandbytes_is_told_qloras_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    how = how_to_load("cuda", in_4bit=True)
    assert how["device_map"] == {"": 1}
    assert how["quantization_config"].to_dict().items() >= FOUR_BITS.items()
    assert how["quantization_config"].bnb_4bit_compute_dtype == torch.bfloat16


@needs_bitsandbytes
def test_what_is_learned_on_a_base_in_four_bits_is_a_plain_adapter(tmp_path: Path, tiny_base: Path) -> None:
    import json

    from safetensors.torch import load_file

    stages = [
        make_stage(tmp_path / name, tiny_base, "sft", ROWS, load_in_4bit=in_4bit, num_train_epochs=8)
        for name, in_4bit in (("quantized", True), ("plain", False))
    ]
    for stage in stages:
        train(stage)
        losses = [entry["loss"] for entry in stage.progress.data["loss_history"] if entry["loss"] is not None]
        assert losses[-1] < losses[0] / 1.5
    quantized, plain = (stage.final for stage in stages)
    names = [set(load_file(final / "adapter_model.safetensors")) for final in (quantized, plain)]
    assert names[0] == names[1]
    configs = [json.loads((final / "adapter_config.json").read_text()) for final in (quantized, plain)]
    told = [portable_config(config, "tiny") for config in configs]
    assert told[0] == told[1]
    assert told[0].keys() <= set(KEPT_KEYS)
    assert read_adapter(quantized)


@pytest.mark.parametrize("name", ["one_gpu", "several_gpus"])
def test_accelerates_configurations_are_ones(name: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(Path(__file__).parents[2] / "deploy" / "accelerate" / f"{name}.yaml"))
    assert config.mixed_precision == "bf16"
    assert (config.num_processes > 1) == (name == "several_gpus")
    assert not config.use_cpu
