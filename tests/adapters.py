"""LoRA adapters that fit a base model: small enough to be made in a test, real enough to load."""

import json
from pathlib import Path
from typing import Any

from feedback.files import folder_sha256
from service.engines.adapter_format import ADAPTER_FILES


def make_adapter(base: Path, folder: Path, *, seed: int, scale: float = 0.02) -> tuple[str, Path]:
    """A rank-4 adapter with random weights on the attention of `base`; returns its hash and folder."""
    import torch
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
    return _write(folder, tensors, rank=4, targets=targets), folder


def make_one_word_adapter(base: Path, folder: Path, word: str) -> Path:
    """An adapter that makes `base` answer anything with `word`, again and again; returns its folder.

    It writes into the stream that the last layer adds to: A finds what that layer's inputs have in common, so A·x is
    near 1 at every position, and B adds so much of the word's embedding that nothing else counts. The next logit is
    tens lower: no rounding makes it another word.
    """
    import torch

    from service.engines.local.base_model import load_base_model, render

    model, tokenizer = load_base_model(str(base), torch.float32)
    (token,) = tokenizer(word, add_special_tokens=False)["input_ids"]
    name = f"model.layers.{model.config.num_hidden_layers - 1}.mlp.down_proj"
    seen = []
    model.get_submodule(name).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0]))
    prompt = render(tokenizer, [{"role": "user", "content": "What can you help me with today?"}])
    with torch.inference_mode():
        model(torch.tensor([[*prompt, *[token] * 16]]))
        common = seen[0][len(prompt) - 1 :].mean(0)  # (in,)
        embeddings = model.get_output_embeddings().weight  # (V, out)
        away = embeddings[token] - embeddings.mean(0)  # (out,)
        tensors = {
            f"base_model.model.{name}.lora_A.weight": (common / common.dot(common))[None],  # (1, in)
            f"base_model.model.{name}.lora_B.weight": (5000 * away / away.norm())[:, None],  # (out, 1)
        }
    _write(folder, tensors, rank=1, targets=["down_proj"])
    return folder


def _write(folder: Path, tensors: dict[str, Any], *, rank: int, targets: list[str]) -> str:
    """Save an adapter in PEFT's format; returns its hash."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": rank, "target_modules": targets}
    (folder / "adapter_config.json").write_text(json.dumps({**config, "bias": "none"}))
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, folder / "adapter_model.safetensors")
    return folder_sha256(folder, ADAPTER_FILES)
