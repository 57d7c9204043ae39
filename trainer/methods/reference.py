"""What the reference makes of each reply, computed once before training, however many epochs follow.

The reference is frozen, so its log-probabilities can be computed while a trainer is made, in batches of which nothing
is kept for gradients, and on a CPU in the fast way. They are columns of the data then, in memory: TRL's own way hands
them through a file of a random name, which processes that train together don't share. Each of those computes all.

Leaves out keeping them for later runs: after SFT each run has a reference of its own.
"""

import time
from typing import Any

from trainer.methods.loop import make_fast


class FastReference:
    """To be mixed in before TRL's DPOTrainer or KTOTrainer, with `precompute_ref_log_probs=True`.

    Takes rows that are tokens already, made as serving makes them.
    """

    reference_columns: tuple[str, ...]
    """Of what TRL's `compute_ref_log_probs` gives, one after the other."""
    reference_seconds: float = 0.0
    """What it took."""

    model: Any
    accelerator: Any
    data_collator: Any
    compute_ref_log_probs: Any

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        began = time.perf_counter()
        make_fast(self.model)
        columns: dict[str, list[float]] = {}
        for start in range(0, len(dataset), batch_size):
            rows = [dataset[place] for place in range(start, min(start + batch_size, len(dataset)))]
            batch = self.data_collator(rows).items()
            found = self.compute_ref_log_probs(
                self.model, {key: value.to(self.accelerator.device) for key, value in batch}
            )
            for column, values in zip(self.reference_columns, found, strict=True):
                if values is not None:
                    columns.setdefault(column, []).extend(values.tolist())
        for column, numbers in columns.items():
            dataset = dataset.add_column(column, numbers)
        self.reference_seconds += time.perf_counter() - began
        return dataset
