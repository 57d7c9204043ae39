"""LoRA adapters with random weights that fit a base model: small enough to be made in a test, real enough to load."""

import json
from pathlib import Path

from feedback.files import folder_sha256
from service.engines.adapter_format import ADAPTER_FILES


def make_adapter(base: Path, folder: Path, *, seed: int, scale: float = 0.02) -> tuple[str, Path]:
    """A rank-4 adapter on all attention projections of `base`; returns its hash and folder."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForCausalLM

    random = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base))
    targets = ["q_proj", "v_proj"]
    tensors = {}
    for name, module in model.named_modules():
        if name.rpartition(".")[2] in targets:
            for half, shape in (("A", (4, module.in_features)), ("B", (module.out_features, 4))):
                weight = torch.randn(shape, generator=random) * (scale if half == "B" else 1.0)
                tensors[f"base_model.model.{name}.lora_{half}.weight"] = weight
    folder.mkdir(parents=True)
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 4, "target_modules": targets}
    (folder / "adapter_config.json").write_text(json.dumps({**config, "bias": "none"}))
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder_sha256(folder, ADAPTER_FILES), folder
