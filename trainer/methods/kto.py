"""Kahneman-Tversky optimization (arXiv:2402.01306): make liked replies likelier and disliked ones less so.

The reference is the SFT result, or the base model without SFT. KTO estimates its reference point from replies
paired with another row's prompt; the pairs are made within each batch, so rows are shuffled here, once, and then
read in order.
"""

import random
from collections.abc import Sequence
from typing import Any

from feedback.run_folder import Row
from trainer import ranks
from trainer.methods.batches import FEWEST_AT_ONCE, whole_batch
from trainer.methods.loop import learn, make_fast, prepare
from trainer.methods.reference import FastReference
from trainer.methods.stage import Stage, arguments, completion_tokens, fitting, load_model, prompt_tokens, watched


def train(stage: Stage) -> None:
    trainer = build(stage)
    if trainer is not None:
        learn(stage, trainer)


def build(stage: Stage) -> Any:
    """TRL's trainer over the stage's ratings; None if no row fits."""
    import torch
    from datasets import Dataset
    from trl import KTOConfig, KTOTrainer

    class TokenizedRatings(FastReference, KTOTrainer):  # type: ignore[misc, unused-ignore]
        reference_columns = ("ref_logps", "ref_KL_logps")

        def _compute_kl_logps(self, model: Any, batch: Any) -> Any:
            expect_both(self.model, batch, gradients=torch.is_grad_enabled())
            return super()._compute_kl_logps(model, batch)

        def compute_ref_log_probs(self, model: Any, inputs: Any) -> Any:
            expect_both(self.model, inputs, gradients=False)
            return super().compute_ref_log_probs(model, inputs)

    model, tokenizer = load_model(stage)
    chosen = stage.hyperparameters
    rows, dev_rows = (tokenized(fitting(stage, side, tokenizer), tokenizer) for side in (stage.rows, stage.dev))
    if not rows:
        return None
    random.Random(stage.seed).shuffle(rows)  # noqa: S311 (a reproducible order, no secret)
    batch_size = whole_batch(chosen.per_device_train_batch_size, ranks.world_size(), FEWEST_AT_ONCE["kto"])
    liked = sum(row["label"] for row in rows)
    dev_rows = mismatched(dev_rows, batch_size)
    trainer = TokenizedRatings(
        model=model,
        args=arguments(
            stage,
            model,
            KTOConfig,
            learning_rate=chosen.preference_learning_rate,
            num_train_epochs=chosen.preference_epochs,
            beta=chosen.beta,
            precompute_ref_log_probs=True,
            loss_type=chosen.kto_loss,
            **balance(liked, len(rows) - liked),
            train_sampling_strategy="sequential",
            **watched(stage, dev_rows),
        ),
        train_dataset=Dataset.from_list(mismatched(rows, batch_size)),
        eval_dataset=Dataset.from_list(dev_rows) if dev_rows else None,
        processing_class=tokenizer,
    )
    prepare(stage, trainer)
    return trainer


def expect_both(model: Any, batch: Any, *, gradients: bool) -> None:
    """The rated replies and the mismatched ones have the same prompts: on a CPU one pass does for both."""
    from trainer.compute.log_probs import token_rows

    if model.device.type == "cpu" and "KL_input_ids" in batch and ranks.world_size() == 1:
        both = (token_rows(batch[f"{of}input_ids"], batch[f"{of}attention_mask"]) for of in ("", "KL_"))
        make_fast(model).expect(*both, gradients=gradients)


def tokenized(rows: Sequence[Row], tokenizer: Any) -> list[dict[str, Any]]:
    return [
        {
            "prompt_ids": prompt_tokens(tokenizer, row.prompt),
            "completion_ids": completion_tokens(tokenizer, row.completion),
            "label": bool(row.label),
        }
        for row in rows
    ]


def mismatched(rows: Sequence[dict[str, Any]], batch_size: int) -> list[dict[str, Any]]:
    """Give each row the completion of the row before it in its batch; a last batch of one is dropped.

    >>> rows = [{"completion_ids": [n]} for n in range(5)]
    >>> [row["KL_completion_ids"] for row in mismatched(rows, 2)]
    [[1], [0], [3], [2]]
    """
    result = []
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        if len(batch) > 1:
            result += [
                row | {"KL_completion_ids": batch[index - 1]["completion_ids"]} for index, row in enumerate(batch)
            ]
    return result


def balance(liked: int, disliked: int) -> dict[str, float]:
    """Weights under which both kinds count alike in sum (the paper's section 4.3), the rarer one lifted.

    >>> balance(30, 10)
    {'desirable_weight': 1.0, 'undesirable_weight': 3.0}
    >>> balance(10, 10), balance(5, 0)
    ({'desirable_weight': 1.0, 'undesirable_weight': 1.0}, {'desirable_weight': 1.0, 'undesirable_weight': 1.0})
    """
    if not liked or not disliked:
        return {"desirable_weight": 1.0, "undesirable_weight": 1.0}
    return {"desirable_weight": max(1.0, disliked / liked), "undesirable_weight": max(1.0, liked / disliked)}
