"""Child processes: how the trainer is called, and that none outlives its parent, not even after kill -9."""

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Literal

from feedback.config import Settings

TrainerTask = Literal["run", "evaluate"]

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel send SIGKILL to this process when its parent dies (Linux; elsewhere nothing happens).

    A parent that died before the call is noticed by its id: then this process ends at once. The signal follows the
    parent's thread: start this process from one that lives as long as the parent.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def keep_files_private() -> None:
    """What people said lies in files that this process makes: only its own user may read them."""
    os.umask(0o077)


def estimate_command(settings: Settings, scratch: Path) -> list[str]:
    """Measures what a run would take, in a process that ends with this one."""
    return [
        *(sys.executable, "-m", "trainer", "estimate", str(scratch)),
        *("--models-folder", str(settings.models), "--device", settings.device),
        *("--die-with-parent", str(os.getpid())),
    ]


def trainer_command(settings: Settings, task: TrainerTask, folder: Path, attempt: int) -> list[str]:
    """Trains or evaluates a run's folder, on the device and in the dtype that this deployment serves with."""
    command = [
        *(sys.executable, "-m", "trainer", task, str(folder), "--attempt", str(attempt)),
        *("--models-folder", str(settings.models), "--replay-folder", str(settings.data_folder / "replay")),
        *("--device", settings.device, "--dtype", settings.dtype),
        *(("--report-to", settings.report_to) if task == "run" and settings.report_to else ()),
    ]
    if task == "run":
        command += ["--processes", str(settings.trainer_processes)]
        command += ["--checkpoint-seconds", str(settings.checkpoint_seconds)]
    return command
