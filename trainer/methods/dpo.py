"""Direct preference optimization (arXiv:2305.18290): move from the rejected reply towards the chosen one.

Robust DPO (arXiv:2403.00409) takes a share of the choices for the wrong way round; the chosen reply's own loss stands
beside it (RPO, arXiv:2404.19733), for DPO alone is content to make the chosen reply unlikely and the other more so.

After SFT the reference is the SFT result (TRL keeps a frozen copy of the adapter), without SFT the base model.
A stage takes minutes; after a kill it starts over from the SFT result.
"""

from collections.abc import Sequence
from typing import Any

from feedback.run_folder import Row
from trainer.methods.stage import (
    Stage,
    arguments,
    completion_tokens,
    finish,
    fitting,
    load_model,
    prepare,
    prompt_tokens,
    reporter,
    watched,
)


def train(stage: Stage) -> None:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    class TokenizedPairs(DPOTrainer):  # type: ignore[misc, unused-ignore]
        """Takes rows that are tokens already, made as serving makes them."""

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

    model, tokenizer = load_model(stage)
    chosen = stage.hyperparameters
    rows, dev_rows = (tokenized(fitting(stage, side, tokenizer), tokenizer) for side in (stage.rows, stage.dev))
    if not rows:
        return
    batch = chosen.per_device_train_batch_size
    # the same gradient: a batch of long pairs at once takes 20 GB, most of it for logits of what isn't learned
    at_once = 1 if stage.device == "cpu" else batch
    trainer = TokenizedPairs(
        model=model,
        args=arguments(
            stage,
            model,
            DPOConfig,
            learning_rate=chosen.preference_learning_rate,
            num_train_epochs=chosen.preference_epochs,
            beta=chosen.beta,
            loss_type=[chosen.dpo_loss, "sft"],  # the second keeps the chosen reply from getting less likely, too
            loss_weights=[1.0, chosen.sft_weight],
            label_smoothing=chosen.label_smoothing,
            per_device_train_batch_size=at_once,
            per_device_eval_batch_size=at_once,
            gradient_accumulation_steps=batch // at_once,
            **watched(stage, dev_rows),
        ),
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(dev_rows) if dev_rows else None,
        processing_class=tokenizer,
        callbacks=[reporter(stage)],
    )
    prepare(stage, trainer)
    trainer.train()
    finish(stage, trainer)


def tokenized(rows: Sequence[Row], tokenizer: Any) -> list[dict[str, list[int]]]:
    return [
        {
            "prompt_ids": prompt_tokens(tokenizer, row.prompt),
            "chosen_ids": completion_tokens(tokenizer, row.chosen),
            "rejected_ids": completion_tokens(tokenizer, row.rejected),
        }
        for row in rows
    ]
