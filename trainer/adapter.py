"""A run's result as an adapter version: PEFT's format, a model card, published whole.

Promises a folder that `read_adapter` accepts, whose two files depend on the training alone: no paths, no dates,
no set in random order. Leaves out registering it (the worker does).
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from feedback.files import publish_folder, read_json
from feedback.progress import dev_looks
from feedback.run_folder import RunSpec
from service.engines.adapter_format import ADAPTER_FILES, CONFIG_FILE, TENSOR_FILE, read_adapter

KEPT_KEYS = (
    "base_model_name_or_path",
    "bias",
    "fan_in_fan_out",
    "inference_mode",
    "init_lora_weights",
    "lora_alpha",
    "lora_dropout",
    "peft_type",
    "r",
    "target_modules",
    "task_type",
    "use_dora",
    "use_rslora",
)
"""What a plain LoRA needs to be loaded again; PEFT's other keys are at their defaults."""


def publish_adapter(trained: Path, target: Path, spec: RunSpec, metrics: dict[str, Any]) -> str:
    """Publish `trained` (a stage's result) at `target` and return its content hash."""
    if not target.exists():
        draft = target.with_name(f"{target.name}-draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        shutil.copyfile(trained / TENSOR_FILE, draft / TENSOR_FILE)
        config = portable_config(read_json(trained / CONFIG_FILE), base_name(spec.base_model))
        (draft / CONFIG_FILE).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")
        (draft / "README.md").write_text(model_card(spec, metrics), "utf-8")
        read_adapter(draft)
        publish_folder(draft, target, [*ADAPTER_FILES, "README.md"])
        shutil.rmtree(draft)
    return read_adapter(target).sha256


def portable_config(config: dict[str, Any], base: str) -> dict[str, Any]:
    """PEFT's configuration without this machine in it.

    >>> portable_config({"r": 4, "target_modules": {"v", "q"}, "revision": None, "base_model_name_or_path": "/x"}, "m")
    {'r': 4, 'target_modules': ['q', 'v'], 'base_model_name_or_path': 'm', 'inference_mode': True}
    """
    kept = {key: value for key, value in config.items() if key in KEPT_KEYS}
    return kept | {
        "target_modules": sorted(config["target_modules"]),
        "base_model_name_or_path": base,
        "inference_mode": True,
    }


def base_name(base_model: str) -> str:
    """A model's name; of a folder, its last part.

    >>> base_name("smollm2-135m-instruct"), base_name("owner/name"), base_name("/srv/models/my-llama/")
    ('smollm2-135m-instruct', 'owner/name', 'my-llama')
    """
    return Path(base_model).name if Path(base_model).is_absolute() or Path(base_model).is_dir() else base_model


def model_card(spec: RunSpec, metrics: dict[str, Any]) -> str:
    base = base_name(spec.base_model)
    lines = [
        "---",
        f"base_model: {base}",
        "library_name: peft",
        "pipeline_tag: text-generation",
        "tags: [lora, burnish]",
        "---",
        "",
        f"# {spec.assistant}, trained by run {spec.run_id}",
        "",
        f"A LoRA adapter for {base}, trained from feedback by Burnish. Whether it is better than what served before "
        "is in the run's evaluation, not here.",
        "",
        f"- dataset: sha256 {spec.dataset_sha256}",
        f"- methods: {', '.join(spec.methods)}",
        f"- seed: {spec.seed}",
        *(f"- {name}: {value}" for name, value in spec.hyperparameters.model_dump().items()),
        *losses(metrics["loss_history"]),
        f"- trained tokens: {metrics['trained_tokens']}",
    ]
    return "\n".join(lines) + "\n"


def losses(history: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A line a method: each has a loss of its own.

    >>> steps = [("sft", 0, None, 2.0), ("sft", 1, 2.5, 2.1), ("sft", 2, 1.5, 2.2), ("dpo", 1, 0.7, None)]
    >>> for line in losses([dict(zip(("stage", "step", "loss", "dev_loss"), step, strict=True)) for step in steps]):
    ...     print(line)
    - sft: training loss 2.5000 at first, 1.5000 at last; dev loss 2.1000 at best, over 2 epochs
    - dpo: training loss 0.7000 at first, 0.7000 at last
    """
    for method in dict.fromkeys(entry["stage"] for entry in history):
        own = [entry for entry in history if entry["stage"] == method]
        trained = [entry["loss"] for entry in own if entry["loss"] is not None]
        dev = [entry["dev_loss"] for entry in dev_looks(own)]
        parts = [f"training loss {trained[0]:.4f} at first, {trained[-1]:.4f} at last"] if trained else []
        if dev:
            parts.append(f"dev loss {min(dev):.4f} at best, over {len(dev)} epochs")
        if parts:
            yield f"- {method}: {'; '.join(parts)}"
