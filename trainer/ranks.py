"""Several processes that train one model together (torchrun's ranks); a single process is rank 0 of 1.

Promises that only rank 0 writes into the run's folder, and that what one rank decides by its clock or its disk is
decided for all. Leaves out starting them (launchers/several.py) and exchanging gradients (torch's DDP).
"""

import os
from typing import TypeVar

from feedback.errors import RunFailedForGood

Decision = TypeVar("Decision")


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def take_place(device: str) -> None:
    """Before a model is loaded: this rank's GPU, or its share of the processor."""
    if os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("1", "true"):
        raise RunFailedForGood(
            "FSDP isn't supported: replay reads the base's head, which FSDP spreads over processes. Use DDP "
            "(deploy/accelerate/several_gpus.yaml), and hyperparameters.load_in_4bit for a base that doesn't fit."
        )
    if world_size() == 1:
        return
    import torch

    if device.startswith("cuda"):
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    else:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // world_size()))


def agreed(decision: Decision) -> Decision:
    """Rank 0's decision, in every rank."""
    if world_size() == 1:
        return decision
    from torch import distributed

    told = [decision]
    distributed.broadcast_object_list(told)
    return told[0]


def wait_for_all() -> None:
    if world_size() > 1:
        from torch import distributed

        distributed.barrier()


def part() -> None:
    """After training: rank 0 evaluates alone."""
    if world_size() > 1:
        from torch import distributed

        if distributed.is_initialized():
            distributed.destroy_process_group()
