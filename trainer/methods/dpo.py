"""Direct preference optimization (arXiv:2305.18290): move from the rejected reply towards the chosen one.

Robust DPO (arXiv:2403.00409) takes a share of the choices for the wrong way round; the chosen reply's own loss stands
beside it (RPO, arXiv:2404.19733), for DPO alone is content to make the chosen reply unlikely and the other more so.

After SFT the reference is the SFT result (TRL keeps a frozen copy of the adapter), without SFT the base model.
"""

from collections.abc import Sequence
from typing import Any

from feedback.run_folder import Row
from trainer.methods.loop import learn, prepare
from trainer.methods.reference import FastReference
from trainer.methods.stage import Stage, arguments, completion_tokens, fitting, load_model, prompt_tokens, watched


def train(stage: Stage) -> None:
    trainer = build(stage)
    if trainer is not None:
        learn(stage, trainer)


def build(stage: Stage) -> Any:
    """TRL's trainer over the stage's pairs; None if no row fits."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    class TokenizedPairs(FastReference, DPOTrainer):  # type: ignore[misc, unused-ignore]
        reference_columns = ("ref_chosen_logps", "ref_rejected_logps")

    model, tokenizer = load_model(stage)
    chosen = stage.hyperparameters
    rows, dev_rows = (tokenized(fitting(stage, side, tokenizer), tokenizer) for side in (stage.rows, stage.dev))
    if not rows:
        return None
    trainer = TokenizedPairs(
        model=model,
        args=arguments(
            stage,
            model,
            DPOConfig,
            learning_rate=chosen.preference_learning_rate,
            num_train_epochs=chosen.preference_epochs,
            beta=chosen.beta,
            precompute_ref_log_probs=True,
            loss_type=[chosen.dpo_loss, "sft"],  # the second keeps the chosen reply from getting less likely, too
            loss_weights=[1.0, chosen.sft_weight],
            label_smoothing=chosen.label_smoothing,
            **watched(stage, dev_rows),
        ),
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(dev_rows) if dev_rows else None,
        processing_class=tokenizer,
    )
    prepare(stage, trainer)
    return trainer


def tokenized(rows: Sequence[Row], tokenizer: Any) -> list[dict[str, list[int]]]:
    return [
        {
            "prompt_ids": prompt_tokens(tokenizer, row.prompt),
            "chosen_ids": completion_tokens(tokenizer, row.chosen),
            "rejected_ids": completion_tokens(tokenizer, row.rejected),
        }
        for row in rows
    ]
