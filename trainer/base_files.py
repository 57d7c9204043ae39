"""Which base model it is, told by its files in a few milliseconds.

A file of JSON (configuration, tokenizer) counts whole. Of weights, hundreds of megabytes to hundreds of gigabytes, the
name, the size, the header and both ends of every tensor do: training a base further in place moves whole tensors.
Promises the same answer wherever the same files are. Leaves out weights that aren't safetensors.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from feedback.files import file_sha256

SAMPLE_BYTES = 4096
"""Of either end of a tensor."""
MOST_HEADER_BYTES = 100_000_000
"""safetensors takes no longer one."""


def base_sha256(folder: Path) -> str:
    told = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix == ".json":
            told.update(f"{path.name} {file_sha256(path)}\n".encode())
        elif path.suffix == ".safetensors":
            told.update(f"{path.name} {path.stat().st_size}\n".encode())
            for sample in _samples(path):
                told.update(sample)
    return told.hexdigest()


def hub_revision(name: str) -> str | None:
    """The commit of a hub id's files that training is about to load; None: it can't be told."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(name, "config.json")).parent.name  # …/snapshots/<commit>/config.json
    except (OSError, ValueError):  # loading it says what is wrong
        return None


def _samples(path: Path) -> Iterator[bytes]:
    """The header (its length, then JSON with each tensor's place), and both ends of each tensor, in their order."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(min(length, MOST_HEADER_BYTES))
        yield header
        try:
            tensors = [tensor for name, tensor in json.loads(header).items() if name != "__metadata__"]
        except ValueError:  # no safetensors, whatever its name: loading it says so
            return
        for begin, end in sorted(tensor["data_offsets"] for tensor in tensors):
            for place in (begin, max(begin, end - SAMPLE_BYTES)):
                yield os.pread(file.fileno(), min(SAMPLE_BYTES, end - place), 8 + length + place)
