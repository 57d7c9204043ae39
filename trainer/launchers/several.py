"""Several processes that train one model together on this machine: torchrun's agent, in this process.

Promises: the ranks die with this process, and it ends as they did, with the same exit status (or signal) and the
failed rank's line as its last; after memory ran out it starts them again, with half as many rows at once. Leaves out
what the ranks do (`python -m trainer run`, which finds torch's environment and so knows that it is one of them).
"""

import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from trainer.failures import BUSY, DISK_FULL, FOR_GOOD, OUT_OF_MEMORY
from trainer.progress import RunProgress

ERROR_FILE = "TORCHELASTIC_ERROR_FILE"
TELLING = (OUT_OF_MEMORY, FOR_GOOD, DISK_FULL, BUSY)
"""Exit statuses that say why; a rank whose partner went away ends with another one."""


def is_rank() -> bool:
    return "RANK" in os.environ


def tell_launcher(message: str) -> None:
    """In a rank: leave the line that says why for whoever started it."""
    if path := os.environ.get(ERROR_FILE):
        Path(path).write_text(json.dumps({"message": message}), "utf-8")


def launch(arguments: list[str], processes: int, attempt: Path) -> int:
    """Run `python -m trainer ARGUMENTS` as so many ranks; returns the exit status."""
    command = ["-m", "trainer", *arguments, "--die-with-parent", str(os.getpid())]
    while True:
        status, message = _run_ranks(command, processes, attempt)
        if status != OUT_OF_MEMORY:
            break
        RunProgress(attempt / "metrics.json").ran_out_of_memory()
        print(message, file=sys.stderr)
    if message:
        print(f"error: {message}", file=sys.stderr, flush=True)
    if status < 0:  # as its rank did
        signal.signal(-status, signal.SIG_DFL) if -status != signal.SIGKILL else None
        os.kill(os.getpid(), -status)
    return status


def _run_ranks(command: list[str], processes: int, attempt: Path) -> tuple[int, str]:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    with tempfile.TemporaryDirectory(prefix="burnish-ranks-") as notes:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            run_id=attempt.name,
            monitor_interval=0.1,
            logs_specs=DefaultLogsSpecs(log_dir=notes),
        )
        try:
            elastic_launch(config, sys.executable)(*command)
        except ChildFailedError as error:
            failures = sorted(error.failures.values(), key=_telling)
            return failures[0].exitcode, str(failures[0].message) if failures[0].exitcode > 0 else ""
    return 0, ""


def _telling(failure: object) -> int:
    """Sorts the rank that failed before those that its failure took along."""
    status = getattr(failure, "exitcode", 1)
    if status in TELLING:
        return TELLING.index(status)
    asked_to_end = status == -signal.SIGTERM  # by torch's agent, after another rank's failure
    return len(TELLING) + (2 if asked_to_end else status > 0)
