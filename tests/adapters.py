"""LoRA adapters that fit a base model: small enough to be made in a test, real enough to load."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from feedback.files import folder_sha256
from service.engines.adapter_format import ADAPTER_FILES, tensor_name


def make_adapter(
    base: Path,
    folder: Path,
    *,
    seed: int,
    rank: int = 4,
    targets: Sequence[str] | Literal["all-linear"] = ("q_proj", "v_proj"),
    scale: float = 0.02,
) -> tuple[str, Path]:
    """An adapter with random weights on modules of `base`; returns its hash and folder.

    B·A's entries spread by about scale · √rank. "all-linear" is PEFT's word: every linear module but the head.
    """
    import torch

    random = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, module in _linear_modules(base, targets):
        for half, shape in (("A", (rank, module.in_features)), ("B", (module.out_features, rank))):
            weight = torch.randn(shape, generator=random) * (scale if half == "B" else 1.0)
            tensors[tensor_name(name, half)] = weight
    return _write(folder, tensors, rank=rank), folder


def make_one_word_adapter(base: Path, folder: Path, word: str, *, like_trained: bool = False) -> Path:
    """An adapter that makes `base` answer anything with `word`, again and again; returns its folder.

    It writes into the stream that the last layer adds to: A finds what that layer's inputs have in common, so A·x is
    near 1 at every position, and B adds so much of the word's embedding that nothing else counts. The next logit is
    tens lower: no rounding makes it another word. `like_trained`: as large as a trained one, of rank 16 on all linear
    modules, where B is zero.
    """
    import torch

    from service.engines.local.base_model import load_base_model, render

    model, tokenizer = load_base_model(str(base), torch.float32)
    (token,) = tokenizer(word, add_special_tokens=False)["input_ids"]
    name = f"model.layers.{model.config.num_hidden_layers - 1}.mlp.down_proj"
    seen = []
    model.get_submodule(name).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0]))
    prompt = render(tokenizer, [{"role": "user", "content": "What can you help me with today?"}])
    rank = 16 if like_trained else 1
    tensors = {}
    for other, module in _linear_modules(base, "all-linear") if like_trained else ():
        tensors[tensor_name(other, "A")] = torch.ones(rank, module.in_features)
        tensors[tensor_name(other, "B")] = torch.zeros(module.out_features, rank)
    with torch.inference_mode():
        model(torch.tensor([[*prompt, *[token] * 16]]))
        common = seen[0][len(prompt) - 1 :].mean(0)  # (in,)
        embeddings = model.get_output_embeddings().weight  # (V, out)
        away = embeddings[token] - embeddings.mean(0)  # (out,)
        a, b = torch.zeros(rank, len(common)), torch.zeros(len(away), rank)
        a[0], b[:, 0] = common / common.dot(common), 5000 * away / away.norm()
        tensors |= {tensor_name(name, "A"): a, tensor_name(name, "B"): b}
    _write(folder, tensors, rank=rank)
    return folder


def _linear_modules(base: Path, targets: Sequence[str] | Literal["all-linear"]) -> list[tuple[str, Any]]:
    """The base's linear modules of these names, without their weights; "all-linear": all but the head."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base))
    head = model.get_output_embeddings()
    return [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and module is not head
        and (targets == "all-linear" or name.rpartition(".")[2] in targets)
    ]


def _write(folder: Path, tensors: dict[str, Any], *, rank: int) -> str:
    """Save an adapter in PEFT's format; returns its hash."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    targets = sorted({name.split(".")[-3] for name in tensors})
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": rank, "target_modules": targets}
    (folder / "adapter_config.json").write_text(json.dumps({**config, "bias": "none"}))
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, folder / "adapter_model.safetensors")
    return folder_sha256(folder, ADAPTER_FILES)
