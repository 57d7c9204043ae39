"""The kinds of adapter that `hyperparameters.peft_type` names: how each is made, trained and written out.

lora, rslora (Kalajdzievski 2023, arXiv:2312.03732: scaling lora_alpha / √r) and adalora (Zhang et al. 2023,
arXiv:2303.10512) end as a plain LoRA, which the engine serves mixed with any others. AdaLoRA's update is
B·diag(E)·A with the ranks that lost out at E = 0: E goes into A and what is left is a LoRA, to the last bit of meaning.

dora (arXiv:2402.09353) rescales whole weight columns and prefix_tuning (arXiv:2101.00190) puts keys and values before
every prompt: neither is a sum of low-rank updates, so neither can be served. Their adapters are PEFT's own, for PEFT.
Leaves out refusing them for an assistant (feedback/policies.py).
"""

import math
from pathlib import Path
from typing import Any

from feedback.errors import RunFailedForGood
from feedback.hyperparameters import Hyperparameters
from feedback.run_folder import Method
from service.engines.adapter_format import CONFIG_FILE, TENSOR_FILE, tensor_name

ADALORA_SPARE = 1.5
"""AdaLoRA begins with this many times its final ranks, as its authors do (section 4.1)."""
ADALORA_WARMUP, ADALORA_SETTLED = 0.1, 0.3
"""Shares of the steps before the first rank is taken and after the last one was."""


def new_adapter(model: Any, chosen: Hyperparameters, method: Method) -> Any:
    """The base with a new, trainable adapter of the chosen kind. AdaLoRA moves ranks in SFT; elsewhere it is LoRA."""
    from peft import AdaLoraConfig, LoraConfig, PrefixTuningConfig, get_peft_model

    shared: dict[str, Any] = {
        "lora_dropout": chosen.lora_dropout,
        "target_modules": "all-linear",
        "task_type": "CAUSAL_LM",
    }
    config: Any
    if chosen.peft_type == "prefix_tuning":
        config = PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=chosen.num_virtual_tokens)
    elif chosen.peft_type == "adalora" and method == "sft":
        init_r = math.ceil(ADALORA_SPARE * chosen.r)
        # PEFT divides by init_r: that is made good. A step moves one singular value as far as it moves each entry of a
        # column of LoRA's B, whose length grows with the root of the width: with it, one learning rate suits both.
        width = math.sqrt(model.config.get_text_config().hidden_size)
        alpha = round(width * chosen.lora_alpha * init_r / chosen.r)
        # the steps are known when training begins: RankAllocation sets them
        config = AdaLoraConfig(target_r=chosen.r, init_r=init_r, lora_alpha=alpha, total_step=1, **shared)
    else:
        config = LoraConfig(
            r=chosen.r,
            lora_alpha=chosen.lora_alpha,
            use_rslora=chosen.peft_type == "rslora",
            use_dora=chosen.peft_type == "dora",
            **shared,
        )
    adapted = get_peft_model(model, config)
    if is_adalora(adapted):
        from torch.nn.init import orthogonal_

        for name, weight in adapted.named_parameters():
            if ".lora_A." in name or ".lora_B." in name:  # PEFT's small noise is far from what `orthogonality` asks for
                orthogonal_(weight.data)
            elif ".ranknum." in name:  # a count, which PEFT would train, and doesn't save
                weight.requires_grad_(False)
    return adapted


def require_sft_alone(method: Method) -> None:
    """PEFT takes no prefix up again, and DPO and KTO need one that stands still beside the one that learns."""
    if method != "sft":
        raise RunFailedForGood(
            f"prefix_tuning trains by SFT alone, and {method} is among the run's methods: leave it out of run.json."
        )


def is_adalora(model: Any) -> bool:
    return hasattr(model, "peft_config") and model.peft_config["default"].peft_type == "ADALORA"


def is_prefix(model: Any) -> bool:
    return hasattr(model, "peft_config") and bool(model.peft_config["default"].is_prompt_learning)


def rank_allocation() -> Any:
    """The callback that has AdaLoRA move ranks to where they matter, after each step."""
    from transformers import TrainerCallback

    class RankAllocation(TrainerCallback):  # type: ignore[misc, unused-ignore]
        def on_train_begin(self, arguments: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            config = model.peft_config["default"]
            config.total_step = state.max_steps
            config.tinit = int(ADALORA_WARMUP * state.max_steps)
            config.tfinal = int(ADALORA_SETTLED * state.max_steps)

        def on_optimizer_step(self, arguments: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            model.base_model.update_and_allocate(state.global_step + 1)

    return RankAllocation()


def orthogonality(model: Any) -> Any:
    """AdaLoRA's pull of A and B to orthogonal factors (its equation 4), which TRL's own loss leaves out."""
    import torch

    terms = []
    for name, weight in model.named_parameters():
        if ".lora_A.default" in name or ".lora_B.default" in name:
            gram = weight @ weight.T if ".lora_A." in name else weight.T @ weight  # (r, r)
            terms.append(torch.linalg.matrix_norm(gram - torch.eye(len(gram), device=gram.device)))
    return model.peft_config["default"].orth_reg_weight * torch.stack(terms).mean()


def save_adapter(model: Any, folder: Path) -> None:
    """Write the trained adapter in PEFT's format; AdaLoRA's as the plain LoRA that it amounts to."""
    if not is_adalora(model):
        model.save_pretrained(str(folder), selected_adapters=["default"])
        return
    from peft import LoraConfig
    from safetensors.torch import save_file

    layers = {name: layer for name, layer in model.get_base_model().named_modules() if hasattr(layer, "lora_E")}
    kept = {name: (layer.lora_E["default"][:, 0] != 0).nonzero()[:, 0] for name, layer in layers.items()}
    r = max(1, *(len(ranks) for ranks in kept.values()))
    tensors = {}
    for name, layer in layers.items():
        ranks = kept[name]
        scaling = layer.scaling["default"] / (layer.ranknum["default"] + 1e-5)  # as PEFT's forward has it
        a = (layer.lora_A["default"] * layer.lora_E["default"] * scaling)[ranks]  # (ranks, in)
        b = layer.lora_B["default"][:, ranks]  # (out, ranks)
        # fewer ranks than the largest module's: the rest is zero, for a version has one rank
        tensors[tensor_name(name, "A")] = _padded(a, (r, a.shape[1]))
        tensors[tensor_name(name, "B")] = _padded(b, (b.shape[0], r))
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / TENSOR_FILE)
    targets = model.peft_config["default"].target_modules
    plain = LoraConfig(r=r, lora_alpha=r, target_modules=targets, task_type="CAUSAL_LM", inference_mode=True)
    plain.save_pretrained(str(folder))
    assert (folder / CONFIG_FILE).is_file()


def _padded(half: Any, shape: tuple[int, int]) -> Any:
    whole = half.new_zeros(shape)
    whole[: half.shape[0], : half.shape[1]] = half.detach()
    return whole.cpu().contiguous()
