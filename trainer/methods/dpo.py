"""Direct preference optimization (arXiv:2305.18290): move from the rejected reply towards the chosen one.

After SFT the reference is the SFT result (TRL keeps a frozen copy of the adapter), without SFT the base model.
A stage takes minutes; after a kill it starts over from the SFT result.
"""

from typing import Any

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
    fitted = fitting(stage, stage.rows, tokenizer)
    if not fitted:
        return
    rows = [
        {
            "prompt_ids": prompt_tokens(tokenizer, row.prompt),
            "chosen_ids": completion_tokens(tokenizer, row.chosen),
            "rejected_ids": completion_tokens(tokenizer, row.rejected),
        }
        for row in fitted
    ]
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
            per_device_train_batch_size=at_once,
            gradient_accumulation_steps=batch // at_once,
            save_strategy="no",
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[reporter(stage)],
    )
    prepare(stage, trainer)
    trainer.train()
    finish(stage, trainer)
