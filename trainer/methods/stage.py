"""What SFT, DPO and KTO share: a model with LoRA, the trainer's arguments, its reports, the finished adapter.

Promises: rows become tokens through the functions that serving uses; a stage's result is published whole in
`final/`, or isn't there. Leaves out each method's own data and loss.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feedback.files import publish_folder
from feedback.hyperparameters import Hyperparameters
from feedback.run_folder import Method, Row, Turn
from service.engines.adapter_format import ADAPTER_FILES
from service.engines.local.base_model import (
    choose_dtype,
    encode_completion,
    load_base_model,
    render,
)
from trainer.methods.peft_options import is_prefix, new_adapter, require_sft_alone, save_adapter
from trainer.progress import RunProgress

if TYPE_CHECKING:
    from trainer.compute.log_probs import Compute

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
    answers: Path | None = None
    """The base's own answers, for replay (own_answers.py); None: nothing is replayed."""

    @property
    def final(self) -> Path:
        return self.folder / "final"


def load_model(stage: Stage) -> tuple[Any, Any]:
    """The base with trainable adapter weights in fp32, and its tokenizer."""
    from peft import PeftModel
    from transformers import set_seed

    model, tokenizer = load_base_model(stage.base_path, choose_dtype("auto", stage.device), stage.device)
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
    cpu = stage.device == "cpu"
    shared = {
        "output_dir": str(stage.folder),
        "seed": stage.seed,
        "use_cpu": cpu,
        "bf16": stage.device.startswith("cuda"),
        "gradient_checkpointing": model.num_parameters() >= LARGE_MODEL_PARAMETERS,
        "per_device_train_batch_size": chosen.per_device_train_batch_size,
        "per_device_eval_batch_size": 2 * chosen.per_device_train_batch_size,
        "max_length": chosen.max_length,
        "weight_decay": chosen.weight_decay,
        "warmup_steps": chosen.warmup_ratio,
        "lr_scheduler_type": "cosine",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "dataloader_pin_memory": not cpu,
        "disable_tqdm": True,
        "report_to": [],
    }
    return config(**(shared | own))


def watched(stage: Stage, dev_rows: Sequence[Any], *, resumed: bool = False) -> dict[str, Any]:
    """Arguments for reading dev before the first epoch and after each, and keeping the best epoch's weights."""
    stage.progress.data.setdefault("dev_rows", {})[stage.method] = len(dev_rows)
    keeps: dict[str, Any] = {"save_strategy": "epoch", "save_total_limit": 2}
    if not dev_rows:
        return keeps
    return keeps | {
        "eval_strategy": "epoch",
        "eval_on_start": not resumed,
        "load_best_model_at_end": True,
        "metric_for_best_model": "loss",
    }


def reporter(stage: Stage) -> Any:
    """The callback that reports steps and losses, seals checkpoints, and stops when dev loss no longer falls.

    It keeps nothing of its own: the trainer's state, which a checkpoint holds, is all it looks at.
    """
    from transformers import TrainerCallback

    progress, patience = stage.progress, stage.hyperparameters.early_stopping_patience

    class Reporter(TrainerCallback):  # type: ignore[misc, unused-ignore]
        def on_train_begin(self, arguments: Any, state: Any, control: Any, **_: Any) -> None:
            progress.resume_at(stage.method, state.global_step)
            best = stage.folder / f"checkpoint-{state.best_global_step}"
            if state.best_global_step and best.is_dir():  # a takeover renames the attempt's folder, and so its path
                state.best_model_checkpoint = str(best)

        def on_step_end(self, arguments: Any, state: Any, control: Any, **_: Any) -> None:
            last = progress.data["loss_history"][-1:]
            note = f"loss {last[0]['loss']:.3f}" if last and last[0]["loss"] is not None else ""
            progress.step(state.global_step, state.max_steps, state.epoch, note)

        def on_log(self, arguments: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                progress.loss(
                    state.global_step,
                    state.epoch,
                    loss=float(logs["loss"]),
                    learning_rate=float(logs["learning_rate"]),
                )

        def on_evaluate(self, arguments: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:
            progress.loss(state.global_step, state.epoch or 0.0, dev_loss=float(metrics["eval_loss"]))
            losses = [entry["eval_loss"] for entry in state.log_history if "eval_loss" in entry]
            if len(losses) - 1 - losses.index(min(losses)) >= patience:
                log.info("%s: no better dev loss for %d epochs: stopping", stage.method, patience)
                control.should_training_stop = True

        def on_save(self, arguments: Any, state: Any, control: Any, **_: Any) -> None:
            from trainer.checkpoints import seal

            progress.write()
            seal(stage.folder / f"checkpoint-{state.global_step}")

    return Reporter()


def prepare(stage: Stage, trainer: Any) -> "Compute":
    """Quiet the trainer, whose reports go through `reporter`, and make it fast on a CPU."""
    from transformers import PrinterCallback

    from trainer.compute.log_probs import Compute, install

    trainer.remove_callback(PrinterCallback)
    compute = Compute(trainer.model)
    if stage.device == "cpu" and not is_prefix(trainer.model):  # a prefix lies before the tokens: TRL knows how
        install(compute)
    return compute


def finish(stage: Stage, trainer: Any) -> None:
    """Publish the trained weights as the stage's result."""
    stage.progress.tokens(int(trainer._total_train_tokens))
    draft = stage.folder / "draft"
    save_adapter(trainer.model, draft)
    publish_folder(draft, stage.final, ADAPTER_FILES)
