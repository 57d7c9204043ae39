"""Supervised fine-tuning: learn the right replies, and nothing of the prompts."""

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from feedback.run_folder import Row
from trainer.methods.guard import REPLAY_DIVERGENCE
from trainer.methods.loop import learn, prepare
from trainer.methods.peft_options import is_adalora, is_prefix, orthogonality, rank_allocation
from trainer.methods.stage import Stage, arguments, completion_tokens, fitting, load_model, prompt_tokens, watched
from trainer.own_answers import read_answers, replayed

log = logging.getLogger("trainer")

IGNORED = -100


def train(stage: Stage) -> None:
    trainer = build(stage)
    if trainer is not None:
        learn(stage, trainer)


def build(stage: Stage) -> Any:
    """TRL's trainer over the stage's rows, with replay; None if no row fits."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from trainer.methods.replay import Replay, texts_of

    class SFTWithReplay(SFTTrainer):  # type: ignore[misc, unused-ignore]
        """Trains, once an optimizer step, on the divergence from the base on some of its own answers, too."""

        replay: Any = None

        def compute_loss(self, model: Any, inputs: Any, *more: Any, **keywords: Any) -> Any:
            loss = super().compute_loss(model, inputs, *more, **keywords)
            if not self.model.training or not self.accelerator.sync_gradients:
                return loss
            if is_adalora(self.model):
                loss = beside(loss, orthogonality(self.model))
            divergence = None if self.replay is None else self.replay.divergence(self.state.global_step)
            if divergence is None:
                return loss
            self._metrics["train"][REPLAY_DIVERGENCE].append(divergence.item())
            return beside(loss, chosen.replay_weight * (divergence / self.replay.share))

    model, tokenizer = load_model(stage)
    chosen = stage.hyperparameters
    train_rows = tokenized(fitting(stage, stage.rows, tokenizer), tokenizer)
    dev_rows = tokenized(fitting(stage, stage.dev, tokenizer), tokenizer)
    if not train_rows:
        return None
    schedule = watched(stage, dev_rows)
    if adalora := is_adalora(model):
        # its ranks are settled at its end only: no epoch before it is a result, and none can be gone on from
        patience = {"early_stopping_patience": chosen.num_train_epochs + 1}
        stage = replace(stage, hyperparameters=chosen.model_copy(update=patience), checkpoint_seconds=math.inf)
        schedule |= {"save_strategy": "no", "load_best_model_at_end": False}
    trainer = SFTWithReplay(
        model=model,
        args=arguments(
            stage,
            model,
            SFTConfig,
            learning_rate=chosen.learning_rate,
            num_train_epochs=chosen.num_train_epochs,
            **schedule,
        ),
        train_dataset=Dataset.from_list(train_rows),
        eval_dataset=Dataset.from_list(dev_rows) if dev_rows else None,
        processing_class=tokenizer,
    )
    compute = prepare(stage, trainer)
    if adalora:
        trainer.add_callback(rank_allocation())
    answers = read_answers(stage.answers) if stage.answers and chosen.replay_fraction else None
    if answers and not compute.plain_head:
        log.warning("sft: nothing is replayed: this model's head scales its logits, which replay doesn't know of")
    elif answers and not is_prefix(model):  # what is replayed goes through the base's layers, past any prefix
        texts_a_step = chosen.replay_fraction * chosen.per_device_train_batch_size
        texts = texts_of(replayed(answers), tokenizer)
        at_once = stage.rows_at_once(stage.halvings)
        trainer.replay = Replay(trainer.model, compute, texts, stage.seed, texts_a_step, at_once)
    return trainer


def beside(loss: Any, penalty: Any) -> Any:
    """The loss as it is, with the gradient of the sum: a curve of sums would jump wherever replay comes and goes."""
    return loss + (penalty - penalty.detach())


def tokenized(rows: Sequence[Row], tokenizer: Any) -> list[dict[str, list[int]]]:
    """Token ids, with labels on the completion only.

    prompt "Hi", completion "Hello" -> input_ids [<hi> <hello> <eos>], labels [-100 <hello> <eos>]
    """
    result = []
    for row in rows:
        prompt = prompt_tokens(tokenizer, row.prompt)
        completion = completion_tokens(tokenizer, row.completion)
        result.append({"input_ids": prompt + completion, "labels": [IGNORED] * len(prompt) + completion})
    return result
