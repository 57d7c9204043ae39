"""Files that survive a kill: written aside, synced, renamed; folders published whole, named by content.

Leaves out what the files mean.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

MANIFEST = "manifest.json"


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` by `data`: a reader sees the old content or the new, never a part. An OSError names the file."""
    try:
        with replacing(path, mode=mode) as file:
            file.write(data)
    except OSError as error:
        error.filename = error.filename or str(path)  # a write that finds no room names none
        raise


@contextmanager
def replacing(path: Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """A file beside `path` that takes its place at the end, whole and synced; not if there was an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_sha256(folder: Path, names: Iterable[str] | None = None) -> str:
    """Content address of a flat folder: sha256 over the sorted lines `<file sha256>  <name>`.

    The manifest itself is left out, so that a published folder still hashes to its own name.
    """
    chosen = sorted(names if names is not None else (path.name for path in folder.iterdir() if path.is_file()))
    lines = (f"{file_sha256(folder / name)}  {name}\n" for name in chosen if name != MANIFEST)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def publish_folder(source: Path, target: Path, names: Iterable[str]) -> None:
    """Copy `names` out of `source` into the new folder `target`: copied aside, synced, manifest last, renamed.

    Doing it twice is harmless: a target that is already there has the same content by its name.
    """
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    aside.mkdir()
    try:
        manifest = {}
        for name in sorted(names):
            write_bytes(aside / name, (source / name).read_bytes())
            manifest[name] = file_sha256(aside / name)
        write_json(aside / MANIFEST, manifest)
        os.rename(aside, target)
    except OSError:
        shutil.rmtree(aside, ignore_errors=True)
        if target.exists():  # another process published the same content first
            return
        raise
    sync_folder(target.parent)
