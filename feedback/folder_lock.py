"""One process at work in a folder. Leaves out leases between machines: the queue in the database has those."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from feedback.errors import Conflict


class FolderBusy(Conflict):
    """Another process trains, evaluates or erases in this folder."""

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
                f"Another process is at work in {folder}. Wait for it, or stop it: `fuser {folder / 'lock'}` names it."
            ) from None
        yield
