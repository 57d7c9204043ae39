"""Supervised fine-tuning: learn the right replies, and nothing of the prompts."""

from collections.abc import Sequence
from typing import Any

from feedback.run_folder import Row
from trainer.methods.loop import learn, prepare
from trainer.methods.stage import Stage, arguments, completion_tokens, fitting, load_model, prompt_tokens

IGNORED = -100


def train(stage: Stage) -> None:
    trainer = build(stage)
    if trainer is not None:
        learn(stage, trainer)


def build(stage: Stage) -> Any:
    """TRL's trainer over the stage's rows, with replay; None if no row fits."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from trainer.methods.replay import Replay, base_texts

    class SFTWithReplay(SFTTrainer):  # type: ignore[misc, unused-ignore]
        """Adds, while training, the divergence from the base on some of its own texts: once an optimizer step."""

        replay: Any = None

        def compute_loss(self, model: Any, inputs: Any, *more: Any, **keywords: Any) -> Any:
            loss = super().compute_loss(model, inputs, *more, **keywords)
            if self.replay is None or not self.model.training or not self.accelerator.sync_gradients:
                return loss
            return loss + chosen.replay_weight * self.replay.divergence(self.state.global_step, replayed)

    model, tokenizer = load_model(stage)
    chosen = stage.hyperparameters
    replayed = round(chosen.replay_fraction * chosen.per_device_train_batch_size)
    train_rows = tokenized(fitting(stage, stage.rows, tokenizer), tokenizer)
    dev_rows = tokenized(fitting(stage, stage.dev, tokenizer), tokenizer)
    if not train_rows:
        return None
    watched: dict[str, Any] = (
        {"eval_strategy": "epoch", "load_best_model_at_end": True, "metric_for_best_model": "loss"} if dev_rows else {}
    )
    trainer = SFTWithReplay(
        model=model,
        args=arguments(
            stage,
            model,
            SFTConfig,
            learning_rate=chosen.learning_rate,
            num_train_epochs=chosen.num_train_epochs,
            save_strategy="epoch",
            **watched,
        ),
        train_dataset=Dataset.from_list(train_rows),
        eval_dataset=Dataset.from_list(dev_rows) if dev_rows else None,
        processing_class=tokenizer,
    )
    prepare(stage, trainer)
    if replayed:
        texts = base_texts(trainer.model, tokenizer, stage.seed, stage.folder / "replay.json")
        trainer.replay = Replay(trainer.model, texts, stage.seed)
    return trainer


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
