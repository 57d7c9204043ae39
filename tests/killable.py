"""A stage of training in a process that a test may kill; libraries are loaded once, in a process that forks them.

That one computes nothing: torch's threads don't survive a fork.
"""

import multiprocessing
import os
import resource
import traceback
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from run_folders import make_stage, train

from feedback.files import write_bytes

LIBRARIES = [
    "torch",
    "datasets",
    "peft",
    "trl.trainer.sft_trainer",
    "trl.trainer.dpo_trainer",
    "trl.trainer.kto_trainer",
]


def start(folder: Path, *what: Any, largest_file_bytes: int | None = None, **how: Any) -> ForkServerProcess:
    """Begin, or go on, to train in `folder`; `what` and `how` are make_stage's."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*LIBRARIES, "killable"])
    child = context.Process(target=_train, args=(folder, what, how, largest_file_bytes))
    child.start()
    return child


def _train(folder: Path, what: tuple[Any, ...], how: dict[str, Any], largest_file_bytes: int | None) -> None:
    import torch

    from trainer.failures import disk_watched, exit_status
    from trainer.methods import loop

    torch.set_num_threads(1)
    loop.MOST_OF_THE_TIME = 0.5  # steps take milliseconds here
    if largest_file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file_bytes, largest_file_bytes))
    status = 1
    try:
        with disk_watched(folder):
            train(make_stage(folder, *what, **how))
        status = 0
    except BaseException as error:
        status = exit_status(error)
        write_bytes(folder / "error.txt", str(error).encode())
        traceback.print_exc()  # last: the limit on files holds for a captured stderr, too
    finally:
        os._exit(status)
