"""The training loop's company: reports, the guard, checkpoints, going on after a kill, the published result.

Promises that a run killed at any point goes on from its newest whole checkpoint and ends as if nothing had happened:
data order, random numbers, optimizer, schedule and early stopping are the checkpoint's. Leaves out the loop itself
(transformers' Trainer) and each method's loss.
"""

import logging
import math
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feedback.files import publish_folder, read_json, write_json
from feedback.progress import losses_in_words, newest_losses
from service.engines.adapter_format import ADAPTER_FILES
from trainer import ranks
from trainer.checkpoints import KEPT, latest_whole, prune, seal
from trainer.failures import require_room
from trainer.methods.guard import PROBES, REPLAY_DIVERGENCE, require_learned, require_sound, trainable_weights
from trainer.methods.peft_options import is_prefix, save_adapter
from trainer.methods.stage import Stage, prompt_tokens

if TYPE_CHECKING:
    from trainer.compute.log_probs import Compute

log = logging.getLogger("trainer")

MOST_OF_THE_TIME = 0.05
"""Share of a run's time that checkpoints within an epoch may take; slow disks get fewer of them."""
TOKENS = "tokens.json"


def prepare(stage: Stage, trainer: Any) -> "Compute":
    """Give the trainer its company in place of its own reports, and make it fast on a CPU."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    for company in callbacks(stage, trainer):
        trainer.add_callback(company)
    return make_fast(trainer.model)


def make_fast(model: Any) -> "Compute":
    """What computes the model's hidden states; on a CPU, also in the trainer's stead."""
    from trainer.compute.log_probs import Compute, install

    # a prefix lies before the tokens: TRL knows how
    return install(model) if model.device.type == "cpu" and not is_prefix(model) else Compute(model)


def learn(stage: Stage, trainer: Any) -> None:
    """Train from the newest whole checkpoint, or from the start, and publish what was learned."""
    from transformers import set_seed

    if optimizer_steps(trainer) * trainer.args.warmup_steps < 1:
        # rounded up to a step of no learning, perhaps the only one
        trainer.args.warmup_steps = 0
    weights = trainable_weights(trainer.model)
    checkpoint = ranks.agreed(latest_whole(stage.folder) if ranks.rank() == 0 else None)
    if checkpoint is None:
        require_room(stage.progress.path.parent, room_bytes(sum(weight.numel() for weight in weights.values())))
        trainer.args.eval_on_start = trainer.eval_dataset is not None  # what the curve begins at
        set_seed(stage.seed)  # whatever was prepared before, by this process or by one before it
    else:
        trainer._total_train_tokens = read_json(checkpoint / TOKENS)["trained_tokens"]
        log.info("%s: goes on from %s", stage.method, checkpoint.name)
    if checkpoint is None or not _stopped_early(stage, trainer, checkpoint):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    probes = [prompt_tokens(trainer.processing_class, row.prompt) for row in stage.rows[:PROBES]]
    require_learned(stage.method, trainer.model, weights, trainer.state.log_history, probes)
    publish(stage, trainer)


def optimizer_steps(trainer: Any) -> int:
    chosen = trainer.args
    rows = chosen.per_device_train_batch_size * chosen.gradient_accumulation_steps * ranks.world_size()
    steps: int = math.ceil(len(trainer.train_dataset) / rows) * math.ceil(chosen.num_train_epochs)
    return steps


def room_bytes(parameters: int) -> int:
    """Disk that a stage may need: checkpoints hold the weights and AdamW's two moments in fp32, results the weights."""
    return 4 * parameters * (3 * (KEPT + 2) + 4) + (64 << 20)


def publish(stage: Stage, trainer: Any) -> None:
    """Publish the trained weights as the stage's result; its checkpoints have done their work."""
    stage.progress.tokens(int(trainer._total_train_tokens))
    if ranks.rank() == 0:
        draft = stage.folder / "draft"
        save_adapter(trainer.model, draft)
        publish_folder(draft, stage.final, ADAPTER_FILES)
        for left in (draft, *stage.folder.glob("checkpoint-*")):
            shutil.rmtree(left)
    ranks.wait_for_all()


def _stopped_early(stage: Stage, trainer: Any, checkpoint: Path) -> bool:
    """Whether a killed process was past its last step already; then its best epoch is taken."""
    from transformers import TrainerState

    state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    if not no_longer_falls(state.log_history, stage.hyperparameters.early_stopping_patience):
        return False
    trainer.state = state
    best = stage.folder / f"checkpoint-{state.best_global_step}"
    # nothing was better than the start: the last weights are taken, as without a kill
    trainer.model.load_adapter(str(best if best.is_dir() else checkpoint), "default")
    return True


def no_longer_falls(history: list[dict[str, Any]], patience: int) -> bool:
    """Whether dev loss was best `patience` epochs ago, or longer.

    >>> no_longer_falls([{"eval_loss": 2.0}, {"loss": 9.0}, {"eval_loss": 2.5}], patience=1)
    True
    >>> no_longer_falls([{"eval_loss": 2.0}, {"eval_loss": 2.5}], patience=2), no_longer_falls([], patience=1)
    (False, False)
    """
    losses = [entry["eval_loss"] for entry in history if "eval_loss" in entry]
    return bool(losses) and len(losses) - 1 - losses.index(min(losses)) >= patience


def _finite(value: Any) -> float | None:
    """JSON has no other numbers."""
    return float(value) if value is not None and math.isfinite(value) else None


def callbacks(stage: Stage, trainer: Any) -> list[Any]:
    """They keep nothing of their own that matters: they go by the trainer's state, which a checkpoint holds."""
    from transformers import TrainerCallback

    progress, patience = stage.progress, stage.hyperparameters.early_stopping_patience

    class Reporter(TrainerCallback):  # type: ignore[misc, unused-ignore]
        """Steps and losses into metrics.json; the end of training when dev loss no longer falls."""

        def on_train_begin(self, arguments: Any, state: Any, control: Any, **_: Any) -> None:
            progress.resume_at(stage.method, state.global_step)
            progress.step(state.global_step, state.max_steps)
            best = stage.folder / f"checkpoint-{state.best_global_step}"
            if state.best_global_step and best.is_dir():  # a takeover renames the attempt's folder, and so its path
                state.best_model_checkpoint = str(best)

        def on_step_end(self, arguments: Any, state: Any, control: Any, **_: Any) -> None:
            note = losses_in_words(*newest_losses(progress.data["loss_history"]))
            progress.step(state.global_step, state.max_steps, state.epoch, note)

        def on_log(self, arguments: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                progress.loss(
                    state.global_step,
                    state.epoch,
                    loss=_finite(logs["loss"]),
                    replay_divergence=_finite(logs.get(REPLAY_DIVERGENCE)),
                    learning_rate=float(logs["learning_rate"]),
                    grad_norm=_finite(logs.get("grad_norm")),
                    num_tokens=logs.get("num_tokens"),
                )

        def on_evaluate(self, arguments: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:
            progress.loss(state.global_step, state.epoch or 0.0, dev_loss=float(metrics["eval_loss"]))
            if no_longer_falls(state.log_history, patience):
                log.info("%s: no better dev loss for %d epochs: stopping", stage.method, patience)
                control.should_training_stop = True

    class Guard(TrainerCallback):  # type: ignore[misc, unused-ignore]
        """Stops what goes wrong, before it is saved."""

        def on_log(self, arguments: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                require_sound(stage.method, state.log_history, stage.hyperparameters)

    class Keeper(TrainerCallback):  # type: ignore[misc, unused-ignore]
        """Checkpoints within an epoch, by the clock, and the seal on each.

        None at an epoch's last step: the epoch's own comes after its evaluation, which must not be missed.
        """

        def on_train_begin(self, arguments: Any, state: Any, control: Any, **_: Any) -> None:
            self._saved, self._cost = time.monotonic(), 0.0
            if ranks.rank() == 0:
                prune(stage.folder, best=state.best_global_step)  # a kill came before it

        def on_step_end(self, arguments: Any, state: Any, control: Any, **_: Any) -> None:
            began = time.monotonic()
            due = began - self._saved >= max(stage.checkpoint_seconds, self._cost / MOST_OF_THE_TIME)
            if ranks.agreed(due) and not float(state.epoch).is_integer():
                control.should_save = True
            self._began = began

        def on_epoch_end(self, arguments: Any, state: Any, control: Any, **_: Any) -> None:
            self._began = time.monotonic()

        def on_evaluate(self, arguments: Any, state: Any, control: Any, **_: Any) -> None:
            self._began = time.monotonic()

        def on_save(self, arguments: Any, state: Any, control: Any, **_: Any) -> None:
            ranks.wait_for_all()
            if ranks.rank() == 0:
                progress.write()
                checkpoint = stage.folder / f"checkpoint-{state.global_step}"
                write_json(checkpoint / TOKENS, {"trained_tokens": int(trainer._total_train_tokens)})
                seal(checkpoint)
                prune(stage.folder, best=state.best_global_step)
            self._saved = time.monotonic()
            self._cost = self._saved - self._began

    return [Reporter(), Guard(), Keeper()]
