"""What an attempt was made of and where: `provenance.json` in its folder, with which anybody can ask for it again.

Promises names, versions and hashes alone, none of the data. A resumed attempt keeps what it began as beside what it
goes on as. Leaves out paths and the machine's name.
"""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from feedback.files import write_json
from feedback.progress import PROVENANCE, read_provenance
from feedback.run_folder import RunSpec
from trainer.adapter import base_name
from trainer.base_files import base_sha256, hub_revision

PACKAGES = ("torch", "transformers", "trl", "peft")
CHECKOUT = Path(__file__).parents[1]


def record(target: Path, spec: RunSpec, *, base_path: str, device: str, dtype: str) -> None:
    """Write it into the attempt's folder; `dtype` is what the weights of the base at `base_path` are trained in."""
    base = Path(base_path)
    process = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **environment(), "device": device, "dtype": dtype}
    known = read_provenance(target)
    processes = known["processes"] if known else []
    write_json(
        target / PROVENANCE,
        {
            "run_id": spec.run_id,
            "assistant": spec.assistant,
            "base_model": base_name(spec.base_model),
            "base_sha256": base_sha256(base) if base.is_dir() else None,
            "base_revision": None if base.is_dir() else hub_revision(base_path),
            "baseline_version": spec.baseline_version,
            "dataset_sha256": spec.dataset_sha256,
            "seed": spec.seed,
            "methods": spec.methods,
            "hyperparameters": spec.hyperparameters.model_dump(),
            "processes": [*processes, process],
        },
    )


def environment() -> dict[str, Any]:
    return {
        "burnish": metadata.version("burnish"),
        "git_commit": git_commit(CHECKOUT),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }


def git_commit(checkout: Path) -> str | None:
    """The commit that is checked out, with `+` if files differ from it; None where Burnish is no checkout."""
    if not (checkout / ".git").exists():
        return None
    try:
        commit = _git(checkout, "rev-parse", "HEAD")
        return commit + ("+" if _git(checkout, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(checkout: Path, *arguments: str) -> str:
    command = ["git", "-C", str(checkout), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
