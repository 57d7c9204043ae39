"""What SFT, DPO and KTO share: a model with LoRA, rows as tokens, the trainer's arguments.

Promises: rows become tokens through the functions that serving uses; a stage's result is published whole in
`final/`, or isn't there. Leaves out each method's own data and loss, and what goes on while it trains (loop.py).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from feedback.hyperparameters import Hyperparameters
from feedback.run_folder import Method, Row, Turn
from service.engines.local.base_model import (
    choose_dtype,
    encode_completion,
    load_base_model,
    render,
)
from trainer import ranks
from trainer.methods.batches import FEWEST_AT_ONCE, layout
from trainer.methods.loading import how_to_load, ready_for_lora
from trainer.methods.peft_options import new_adapter, require_sft_alone
from trainer.progress import RunProgress

log = logging.getLogger("trainer")

LARGE_MODEL_PARAMETERS = 1_000_000_000
"""From here on, activations are recomputed to save memory."""


@dataclass(frozen=True)
class Stage:
    method: Method
    rows: list[Row]
    dev: list[Row]
    hyperparameters: Hyperparameters
    seed: int
    base_path: str
    device: str
    start: Path | None
    """The adapter that the stage continues from; None: a new one."""
    folder: Path
    progress: RunProgress
    checkpoint_seconds: float = 60.0
    """Least seconds between two checkpoints of one epoch."""
    halvings: int = 0
    """How often memory ran out before."""
    answers: Path | None = None
    """The base's own answers, for replay (own_answers.py); None: nothing is replayed."""
    report_to: tuple[str, ...] = ()
    """transformers' names of the services that hear of every step, under the name of the run."""
    run_id: str = ""

    @property
    def final(self) -> Path:
        return self.folder / "final"

    def rows_at_once(self, halvings: int) -> int:
        """Rows of a forward pass in this process, after memory ran out that often."""
        return self.spread(halvings)["per_device_train_batch_size"]

    def spread(self, halvings: int) -> dict[str, int]:
        """The optimizer's batch over processes and time, as TrainingArguments spells it."""
        batch = self.hyperparameters.per_device_train_batch_size
        return layout(batch, ranks.world_size(), halvings, least=FEWEST_AT_ONCE[self.method])


def load_model(stage: Stage) -> tuple[Any, Any]:
    """The base with trainable adapter weights in fp32, and its tokenizer."""
    from peft import PeftModel
    from transformers import set_seed

    chosen = stage.hyperparameters
    how = how_to_load(stage.device, in_4bit=chosen.load_in_4bit)
    model, tokenizer = load_base_model(stage.base_path, choose_dtype("auto", stage.device), stage.device, **how)
    if chosen.load_in_4bit:
        model = ready_for_lora(model)
    set_seed(stage.seed)
    if stage.hyperparameters.peft_type == "prefix_tuning":
        require_sft_alone(stage.method)
    if stage.start is not None:
        return PeftModel.from_pretrained(model, str(stage.start), is_trainable=True), tokenizer
    return new_adapter(model, stage.hyperparameters, stage.method), tokenizer


def prompt_tokens(tokenizer: Any, turns: Sequence[Turn]) -> list[int]:
    return render(tokenizer, [turn.model_dump() for turn in turns])


def completion_tokens(tokenizer: Any, turns: Sequence[Turn] | None) -> list[int]:
    return encode_completion(tokenizer, "\n".join(turn.content for turn in turns or []))


def fitting(stage: Stage, rows: list[Row], tokenizer: Any) -> list[Row]:
    """The rows whose prompt leaves room for a completion within `max_length`; a stage without any trains nothing."""
    longest = stage.hyperparameters.max_length
    kept = [row for row in rows if len(prompt_tokens(tokenizer, row.prompt)) < longest]
    if len(kept) < len(rows):
        left_out = len(rows) - len(kept)
        log.info("%s: %d of %d rows are longer than max_length and left out", stage.method, left_out, len(rows))
    return kept


def arguments(stage: Stage, model: Any, config: type[Any], **own: Any) -> Any:
    """TRL's configuration: what all methods share, and the method's `own`."""
    chosen = stage.hyperparameters
    spread = stage.spread(stage.halvings)
    if stage.halvings:
        log.info("%s: memory ran out before: %s", stage.method, spread)
    cpu = stage.device == "cpu"
    shared = {
        "output_dir": str(stage.folder),
        "seed": stage.seed,
        "use_cpu": cpu,
        "bf16": stage.device.startswith("cuda"),
        "gradient_checkpointing": model.num_parameters() >= LARGE_MODEL_PARAMETERS,
        **spread,
        "per_device_eval_batch_size": 2 * spread["per_device_train_batch_size"],
        "ddp_find_unused_parameters": False,
        "max_length": chosen.max_length,
        "weight_decay": chosen.weight_decay,
        "warmup_steps": chosen.warmup_ratio,
        "lr_scheduler_type": "cosine",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "dataloader_pin_memory": not cpu,
        "disable_tqdm": True,
        "report_to": list(stage.report_to),
        "run_name": f"{stage.run_id} {stage.method}",
    }
    return config(**(shared | own))


def end_reports(stage: Stage) -> None:
    """After a training, so that the next one's steps are a run of their own where they are reported to."""
    for name, end in (("wandb", "finish"), ("mlflow", "end_run")):
        if name in stage.report_to:
            getattr(import_module(name), end)()


def watched(stage: Stage, dev_rows: Sequence[Any]) -> dict[str, Any]:
    """Arguments for reading dev after each epoch, and keeping the best one's weights."""
    stage.progress.data.setdefault("dev_rows", {})[stage.method] = len(dev_rows)
    if not dev_rows:
        return {"save_strategy": "epoch"}
    return {
        "save_strategy": "epoch",
        "eval_strategy": "epoch",
        "load_best_model_at_end": True,
        "metric_for_best_model": "loss",
    }
