"""How a training process fails: what each failure is called, whether another try helps, where it goes on.

A process ends with an exit status that says which kind it was, and with one line that says why; the worker reads
both. Promises to import nothing heavy. Leaves out finding failures (methods/guard.py) and what a run does about
them (worker.py, __main__.py).

| status | failure | the next attempt |
|---|---|---|
| 65 | for good: the loss exploded, nothing was learned, one row alone is too large | there is none |
| 71 | memory ran out | isn't needed: the process starts itself again, with half as many rows at once |
| 74 | the disk is full | goes on from the last checkpoint |
| 75 | another process works in the folder | isn't counted |
| killed | from outside | goes on from the last checkpoint |
| else | anything unforeseen | goes on from the adapter if that is whole, else starts over |
"""

import errno
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from feedback.errors import AdapterRefused, DiskFull, OutOfMemory, RunFailed, RunFailedForGood, RunKilled
from feedback.folder_lock import FolderBusy
from service.engines.adapter_format import read_adapter
from trainer.checkpoints import SEAL, latest_whole

FOR_GOOD, OUT_OF_MEMORY, DISK_FULL, BUSY = 65, 71, 74, FolderBusy.exit_code
"""Exit statuses, after sysexits.h: EX_DATAERR, EX_OSERR, EX_IOERR, EX_TEMPFAIL."""

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MEMORY_WORDS = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "std::bad_alloc",
    "Cannot allocate memory",
)
"""What allocators say that raise a plain RuntimeError or OSError (torch's on a CPU, CUDA's libraries, the kernel)."""
DISK_WORDS = (
    "No space left on device",
    "Disk quota exceeded",
    "File too large",
    "PytorchStreamWriter failed",
    "unexpected pos",
)
"""What libraries say that write files in compiled code (safetensors, torch.save)."""


def exit_status(error: BaseException) -> int:
    match error:
        case RunFailedForGood():
            return FOR_GOOD
        case OutOfMemory():
            return OUT_OF_MEMORY
        case DiskFull():
            return DISK_FULL
        case FolderBusy():
            return BUSY
    return 1


def is_out_of_memory(error: BaseException) -> bool:
    """
    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    (True, True)
    >>> is_out_of_memory(RuntimeError("shapes cannot be multiplied"))
    False
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, without torch
        return True
    return isinstance(error, RuntimeError | OSError) and any(words in str(error) for words in MEMORY_WORDS)


def is_disk_full(error: BaseException) -> bool:
    """
    >>> is_disk_full(OSError(28, "No space left on device")), is_disk_full(OSError(2, "No such file"))
    (True, False)
    """
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return True
    return any(words in f"{error} {error.__cause__ or error.__context__ or ''}" for words in DISK_WORDS)


@contextmanager
def disk_watched(attempt: Path) -> Iterator[None]:
    """A disk that fills up as an error that says what to do; what was cut short goes, for the error needs room, too."""
    try:
        yield
    except Exception as error:
        if isinstance(error, RunFailed) or not is_disk_full(error):
            raise
        full = disk_full(error, _being_written(attempt))
        for stage in attempt.glob("checkpoints/*"):
            latest_whole(stage)
        raise full from error


def disk_full(error: BaseException, place: Path) -> DiskFull:
    """`place`: what was being written, if the error names no file."""
    named = getattr(error, "filename", None)
    written = Path(named) if named else place
    return DiskFull(
        f"The disk is full: {written} couldn't be written, {mebibytes(free_bytes(written))} are free there. "
        f"Free some space; the run then goes on where it stood."
    )


def _being_written(attempt: Path) -> Path:
    """The newest file, if possible of an unsealed checkpoint."""
    torn = [folder for folder in attempt.glob("checkpoints/*/checkpoint-*") if not (folder / SEAL).exists()]
    files = [path for folder in torn or [attempt] for path in folder.rglob("*") if path.is_file()]
    return max(files, key=lambda path: path.stat().st_mtime_ns, default=attempt)


def require_room(folder: Path, needed_bytes: int) -> None:
    """Refuse to start what can't fit."""
    free = free_bytes(folder)
    if free < needed_bytes:
        raise DiskFull(
            f"The disk has too little room: checkpoints and adapter need up to {mebibytes(needed_bytes)}, "
            f"{mebibytes(free)} are free in {folder}. Free some space, or make the adapter smaller: hyperparameters.r."
        )


def free_bytes(place: Path) -> int:
    """On the disk that `place` is on, or would be."""
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def mebibytes(count: int) -> str:
    """
    >>> mebibytes(3 * 2**20 + 1)
    '3 MiB'
    """
    return f"{count >> 20} MiB"


def failure_of(status: int, attempt: Path, *, memory_ran_out: bool) -> RunFailed:
    """A process's end as an error; `memory_ran_out`: the kernel killed somebody for memory meanwhile."""
    if status == -signal.SIGKILL and memory_ran_out:
        return OutOfMemory(
            "The training process was killed because the machine's memory ran out: the next attempt goes on from the "
            "last checkpoint with half as many rows at once."
        )
    if status < 0:
        return RunKilled(f"The training process was killed by {signal.Signals(-status).name}.")
    line = last_line(attempt / "train.log").removeprefix("error: ")
    kinds: dict[int, type[RunFailed]] = {FOR_GOOD: RunFailedForGood, DISK_FULL: DiskFull, OUT_OF_MEMORY: OutOfMemory}
    if status == DISK_FULL and "disk" not in line:  # the line itself found no room
        line = f"The disk is full: {mebibytes(free_bytes(attempt))} are free in {attempt}. Free some space."
    return kinds.get(status, RunFailed)(line)


def goes_on(failure: Exception, attempt: Path) -> bool:
    """Whether the next attempt goes on from what this one left: checkpoints, or an adapter that needs judging alone."""
    if not attempt.is_dir():
        return False
    return isinstance(failure, RunKilled | DiskFull | OutOfMemory) or _is_whole(attempt / "adapter")


def _is_whole(adapter: Path) -> bool:
    try:
        read_adapter(adapter)
    except (AdapterRefused, OSError):
        return False
    return True


def last_line(log: Path) -> str:
    """The error that a training process ended with."""
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()] if log.exists() else []
    return lines[-1][-500:].replace("\0", "") if lines else "The training process ended without a word."


def oom_kills(proc: Path = Path("/proc"), control_groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Processes that the kernel killed for memory: in this control group, else on this machine; 0 if unknown."""
    try:
        own = next(line for line in (proc / "self" / "cgroup").read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        own = "0::/"
    events = own.removeprefix("0::").lstrip("/")
    for source in (control_groups / events / "memory.events", control_groups / "memory.events", proc / "vmstat"):
        try:
            counts = dict(line.split() for line in source.read_text().splitlines())
        except (OSError, ValueError):
            continue
        if "oom_kill" in counts:
            return int(counts["oom_kill"])
    return 0
