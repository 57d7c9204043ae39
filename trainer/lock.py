"""One training process a folder, and none that outlives the process that started it.

Leaves out leases between machines: the queue in the database has those.
"""

import ctypes
import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from feedback.errors import Conflict

PR_SET_PDEATHSIG = 1


class FolderBusy(Conflict):
    """Another process trains or evaluates in this folder."""

    code = "folder_busy"
    exit_code = 75  # EX_TEMPFAIL: try again later


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold `folder/lock` for as long as the block runs; the kernel frees it when the process dies, however.

    The file stays: removing it would let two processes lock two files of one name.
    """
    with (folder / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderBusy(
                f"{folder} is being trained in by another process. Wait for it, or stop it: `fuser {folder / 'lock'}` "
                "names it."
            ) from None
        yield


def die_with_parent(parent: int | None = None) -> None:
    """Have the kernel kill this process when its parent ends (Linux; elsewhere nothing happens).

    `parent` is the process that should be there: when it is already gone, this process ends at once. The signal
    follows the parent's *thread*: start this process from one that lives as long as the parent.
    """
    expected = parent if parent else os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != expected:
        raise SystemExit("The process that started this run is gone: stopping.")
