"""Direct preference optimization (arXiv:2305.18290): move from the rejected reply towards the chosen one.

After SFT the reference is the SFT result (TRL keeps a frozen copy of the adapter), without SFT the base model.
"""

from typing import Any

from trainer.methods.loop import learn, prepare
from trainer.methods.stage import Stage, arguments, completion_tokens, fitting, load_model, prompt_tokens


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
    trainer = TokenizedPairs(
        model=model,
        args=arguments(
            stage,
            model,
            DPOConfig,
            learning_rate=chosen.preference_learning_rate,
            num_train_epochs=chosen.preference_epochs,
            beta=chosen.beta,
            save_strategy="epoch",
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    prepare(stage, trainer)
    learn(stage, trainer)
