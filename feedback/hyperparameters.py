"""How a run trains: what an operator may set, spelled as PEFT and TRL spell it, each with its unit and its reason.

`docs/training.md` has the table that `burnish doctor --hyperparameters` prints. Leaves out when a run is due and
what it is judged by (policies.py).
"""

import json
from typing import Literal, Self

from pydantic import Field, model_validator

from feedback.curation_policies import Policy

PeftType = Literal["lora", "rslora", "adalora", "dora", "prefix_tuning"]
SERVED: tuple[PeftType, ...] = ("lora", "rslora", "adalora")
"""Kinds whose result the engine mixes freely in one batch; an assistant may have no other."""
MOST_SEARCH_TRIALS = 64


class Hyperparameters(Policy):
    """How a run trains."""

    peft_type: PeftType = Field(
        "lora",
        description="Kind of adapter. lora; rslora: scaled by lora_alpha / √r; adalora: ranks go where they matter, "
        "served as LoRA. dora and prefix_tuning can't be served: only a folder run by hand may have them.",
    )
    r: int = Field(16, ge=1, le=256, description="LoRA rank. AdaLoRA's on average; prefix_tuning has none.")
    lora_alpha: int = Field(32, ge=1, description="LoRA scaling numerator: updates are scaled by lora_alpha / r.")
    lora_dropout: float = Field(
        0.0, ge=0, lt=1, description="Share of LoRA inputs that SFT zeroes at random; DPO and KTO train without."
    )
    num_virtual_tokens: int = Field(20, ge=1, le=512, description="Length of prefix_tuning's prefix, in tokens.")
    warm_start: bool = Field(
        False,
        description="Go on from the adapter that serves, which must have the same rank and scaling, not the base.",
    )
    learning_rate: float = Field(7e-4, gt=0, description="Peak AdamW learning rate of SFT.")
    num_train_epochs: int = Field(6, ge=1, description="Most passes of SFT over the training rows.")
    per_device_train_batch_size: int = Field(
        8, ge=1, description="Rows per optimizer step, over all processes together."
    )
    max_length: int = Field(
        1024, ge=16, description="Longest row in tokens: longer completions are cut, rows with longer prompts left out."
    )
    weight_decay: float = Field(
        0.0, ge=0, le=1, description="AdamW's decay of the adapter's weights, per step and learning rate."
    )
    warmup_ratio: float = Field(0.05, ge=0, lt=1, description="Share of steps that raise the learning rate from 0.")
    early_stopping_patience: int = Field(
        2,
        ge=1,
        description="Epochs without a better dev loss before a method stops; the best epoch's weights are kept.",
    )
    replay_fraction: float = Field(
        0.1, ge=0, le=4, description="Texts of the base's own per SFT row that hold the adapter to the base; 0: none."
    )
    replay_weight: float = Field(
        3.0, gt=0, description="Weight of the divergence from the base on those texts, beside the rows' own loss."
    )
    preference_learning_rate: float = Field(1e-4, gt=0, description="Peak learning rate of DPO and KTO.")
    preference_epochs: int = Field(1, ge=1, description="Most passes of DPO or KTO over their rows.")
    beta: float = Field(
        0.1, gt=0, description="Strength of DPO's and KTO's pull to the reference; sigmoid_norm needs 2 to 10."
    )
    dpo_loss: Literal["robust", "sigmoid_norm"] = Field(
        "robust",
        description="DPO's loss. robust: corrected for label_smoothing; sigmoid_norm: log-ratios as means over a "
        "reply's tokens, so that length counts for nothing.",
    )
    label_smoothing: float = Field(
        0.1,
        ge=0,
        lt=0.5,
        description="Share of choices that are taken to be the wrong way round; only robust reads it.",
    )
    sft_weight: float = Field(
        1.0, ge=0, description="Weight of the chosen reply's own loss, in nats a token, beside DPO's; 0: none."
    )
    kto_loss: Literal["kto", "apo_zero_unpaired"] = Field(
        "kto",
        description="Loss on ratings. kto: against an estimated reference point; apo_zero_unpaired: against none, with "
        "half the passes.",
    )
    adapter_scales: list[float] = Field(
        [0.5, 0.75, 1.0],
        min_length=1,
        max_length=8,
        description="Factors for the trained adapter, of which dev chooses one, the least of equals; [1.0]: as it is.",
    )
    search_trials: int = Field(
        0,
        ge=0,
        le=MOST_SEARCH_TRIALS,
        description="Trials of learning rate, epochs, rank and beta, of which dev keeps the best; 0: none.",
    )
    load_in_4bit: bool = Field(
        False, description="Train on the base in 4 bits (QLoRA): a quarter of the memory, slower; needs bitsandbytes."
    )

    @model_validator(mode="after")
    def _settings_fit_together(self) -> Self:
        if not all(0 < scale <= 1 for scale in self.adapter_scales):
            raise ValueError("adapter_scales are above 0 and at most 1")
        if self.warm_start and self.peft_type not in ("lora", "rslora"):
            raise ValueError(f"warm_start goes on from a LoRA, not as {self.peft_type}: set one of them back")
        return self


def hyperparameters_rows() -> list[dict[str, str]]:
    """Each with its default as `burnish assistant set` takes it."""
    return [
        {"setting": name, "default": _as_set(field.default), "description": field.description or ""}
        for name, field in Hyperparameters.model_fields.items()
    ]


def hyperparameters_table() -> str:
    """The documentation's table, in Markdown."""
    lines = ["| setting | default | what it does |", "|---|---|---|"]
    lines += [f"| `{row['setting']}` | `{row['default']}` | {row['description']} |" for row in hyperparameters_rows()]
    return "\n".join(lines)


def _as_set(default: object) -> str:
    return default if isinstance(default, str) else json.dumps(default)
