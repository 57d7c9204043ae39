"""What the reference makes of each reply, computed once before training, however many epochs follow.

The reference is frozen, so TRL may compute its log-probabilities beforehand, in batches without anything kept for
gradients; it does so while a trainer is made, and here in the fast way. Leaves out keeping them for later runs: after
SFT each run has a reference of its own.
"""

import time
from typing import Any

from trainer.methods.loop import make_fast


class FastReference:
    """To be mixed in before TRL's DPOTrainer or KTOTrainer, with `precompute_ref_log_probs=True`."""

    model: Any
    reference_seconds: float = 0.0
    """What it took."""

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        began = time.perf_counter()
        make_fast(self.model)
        known = super()._precompute_ref_logps(dataset, name, batch_size)  # type: ignore[misc]
        self.reference_seconds += time.perf_counter() - began
        return known
