"""How training loads the base model where serving needn't: in 4 bits, and with FlashAttention on a GPU.

Promises that neither changes what a run publishes: an adapter trained on a 4-bit base is plain LoRA and is served,
and judged, on the base as it is. Leaves out loading itself (service/engines/local/base_model.py).
"""

from importlib.util import find_spec
from typing import Any

from feedback.errors import RunFailedForGood

FOUR_BITS = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
"""QLoRA's (arXiv:2305.14314): normal floats, with the scales quantized too."""


def how_to_load(device: str, *, in_4bit: bool) -> dict[str, Any]:
    """What `from_pretrained` is told besides path and dtype.

    Attention is torch's own (SDPA, with FlashAttention's kernels on a GPU), unless the package `flash-attn` is there.

    >>> how_to_load("cpu", in_4bit=False)
    {}
    """
    how: dict[str, Any] = {}
    if device.startswith("cuda") and find_spec("flash_attn"):
        how["attn_implementation"] = "flash_attention_2"
    if in_4bit:
        how |= {"quantization_config": _four_bits(device), "device_map": {"": _place(device)}}
    return how


def ready_for_lora(model: Any) -> Any:
    """A quantized base frozen, with what isn't quantized in fp32."""
    from peft import prepare_model_for_kbit_training

    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            # a forward pass in eval mode would repack the weights for inference, which training can't read
            module.support_avx512bf16_for_cpu = False
    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)


def _four_bits(device: str) -> Any:
    if find_spec("bitsandbytes") is None:
        raise RunFailedForGood(
            "hyperparameters.load_in_4bit needs bitsandbytes: `pip install 'burnish[quantized]'` where training runs."
        )
    import torch
    from transformers import BitsAndBytesConfig

    computes_in = torch.bfloat16 if device.startswith("cuda") else torch.float32
    return BitsAndBytesConfig(**FOUR_BITS, bnb_4bit_compute_dtype=computes_in)


def _place(device: str) -> str | int:
    if not device.startswith("cuda"):
        return device
    import torch

    index: int = torch.cuda.current_device()  # each rank has chosen its own
    return index
