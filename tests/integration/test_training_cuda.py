"""Training on one GPU: `python -m pytest -m cuda` on a machine that has one. `make test` leaves these out."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from run_folders import dpo_row, kto_row, make_stage, sft_row, train

from feedback.errors import OutOfMemory
from service.engines.adapter_format import read_adapter
from trainer.failures import is_out_of_memory
from trainer.training import _memory_watched

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this machine"),
]
ROWS = {"sft": sft_row, "dpo": dpo_row, "kto": kto_row}


def losses(base: Path, folder: Path, method: str, device: str = "cuda", **how: object) -> list[float]:
    rows = [ROWS[method](number, "train") for number in range(16)]
    schedule = {"num_train_epochs": 6, "preference_epochs": 6}
    stage = make_stage(folder, base, method, rows, device=device, **schedule | how)
    train(stage)
    if method == "sft":
        read_adapter(stage.final)
    return [entry["loss"] for entry in stage.progress.data["loss_history"] if entry["loss"] is not None]


@pytest.mark.parametrize("method", ["sft", "dpo", "kto"])
def test_each_method_lowers_its_loss_on_cuda(tmp_path: Path, tiny_base: Path, method: str) -> None:
    found = losses(tiny_base, tmp_path / "run", method)
    assert len(found) == 12
    assert found[-1] < 0.9 * found[0]


def test_sft_on_cuda_goes_as_on_the_cpu(tmp_path: Path, tiny_base: Path) -> None:
    """Both in bfloat16 where the processor has it; at most rounding lies between them."""
    on_gpu, on_cpu = (losses(tiny_base, tmp_path / device, "sft", device) for device in ("cuda", "cpu"))
    assert on_gpu == pytest.approx(on_cpu, rel=0.1)


@pytest.mark.skipif(not find_spec("bitsandbytes"), reason="pip install 'burnish[quantized]'")
def test_a_base_in_four_bits_learns_on_cuda(tmp_path: Path, tiny_base: Path) -> None:
    found = losses(tiny_base, tmp_path / "run", "sft", load_in_4bit=True)
    assert found[-1] < 0.9 * found[0]


def test_a_full_gpu_is_told_as_memory_that_ran_out(tmp_path: Path, tiny_base: Path) -> None:
    stage = make_stage(tmp_path / "run", tiny_base, "sft", [sft_row(0, "train")], device="cuda")
    with pytest.raises(OutOfMemory, match=r"with 8 rows at once.*with 4") as told, _memory_watched(stage):
        torch.empty(2**50, dtype=torch.uint8, device="cuda")
    assert told.value.__cause__ is not None
    assert is_out_of_memory(told.value.__cause__)
