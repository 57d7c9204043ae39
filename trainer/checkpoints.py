"""Checkpoints that can be trusted after a kill.

The trainer writes a checkpoint's files one by one. When all are there, `seal` syncs them and writes their hashes
into `sealed.json`, last, and only then are older ones removed. A folder without a seal, or whose files don't match it,
was cut short: it is removed and the one before it is resumed from. Leaves out what is in a checkpoint (transformers'
Trainer knows).
"""

import os
import shutil
from pathlib import Path

from feedback.files import file_sha256, read_json, sync_folder, write_json

SEAL = "sealed.json"
KEPT = 2
"""Newest checkpoints that are kept; the best epoch's is kept beside them."""


def seal(checkpoint: Path) -> None:
    names = sorted(str(path.relative_to(checkpoint)) for path in checkpoint.rglob("*") if path.is_file())
    hashes = {}
    for name in names:
        descriptor = os.open(checkpoint / name, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        hashes[name] = file_sha256(checkpoint / name)
    write_json(checkpoint / SEAL, hashes)
    sync_folder(checkpoint.parent)


def is_whole(checkpoint: Path) -> bool:
    try:
        hashes = read_json(checkpoint / SEAL)
        return bool(hashes) and all(file_sha256(checkpoint / name) == sha256 for name, sha256 in hashes.items())
    except (OSError, ValueError, AttributeError):
        return False


def latest_whole(folder: Path) -> Path | None:
    """The newest checkpoint that can be resumed from; broken ones are removed."""
    whole = []
    for checkpoint in _checkpoints(folder):
        if is_whole(checkpoint):
            whole.append(checkpoint)
        else:
            shutil.rmtree(checkpoint)
    return whole[-1] if whole else None


def prune(folder: Path, best: int | None) -> None:
    """Remove all but the newest checkpoints and that of step `best`; called when the newest is sealed."""
    for checkpoint in _checkpoints(folder)[:-KEPT]:
        if _step(checkpoint) != best:
            (checkpoint / SEAL).unlink(missing_ok=True)
            shutil.rmtree(checkpoint)


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*"), key=_step)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])
