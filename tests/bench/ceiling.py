"""The tokens a second that the model's matrix products alone allow: what a machine's serving is held against.

Promises: each linear module's product once for each token, the head's too, one module after the other, on weights of
the served dtype that fill the memory as the model's do; the best of several passes counts. Leaves out attention,
norms, adapters, sampling and HTTP, which cost time on top.
"""

from pathlib import Path
from time import perf_counter

PASSES = 7


class Ceiling:
    """`torch` runs with as many threads as the engine's process, which is its default."""

    def __init__(self, base: Path, device: str, dtype: str) -> None:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        from service.engines.local.base_model import choose_device, choose_dtype

        self._device = choose_device(device)
        self._dtype = choose_dtype(dtype, self._device)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base))
        shapes = [module.weight.shape for module in model.modules() if isinstance(module, torch.nn.Linear)]
        self._weights = [torch.randn(shape, device=self._device, dtype=self._dtype) for shape in shapes]  # (out, in)

    @property
    def dtype(self) -> str:
        return str(self._dtype).removeprefix("torch.")

    def tokens_per_second(self, batch: int) -> float:
        import torch

        inputs = {
            width: torch.randn(batch, width, device=self._device, dtype=self._dtype)
            for width in {weight.shape[1] for weight in self._weights}
        }
        best = float("inf")
        with torch.inference_mode():
            for _ in range(PASSES):
                began = perf_counter()
                for weight in self._weights:
                    torch.nn.functional.linear(inputs[weight.shape[1]], weight)
                if self._device.startswith("cuda"):
                    torch.cuda.synchronize()
                best = min(best, perf_counter() - began)
        return batch / best
