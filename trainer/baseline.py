"""The serving adapter in a run's folder, which the candidate is judged against.

Promises that `baseline/` is whole or away, and that run.json names what lies there. Leaves out which version serves.
"""

import secrets
import shutil
from pathlib import Path

from feedback import adapters, assistants, files
from feedback.run_folder import Purpose, RunSpec


def purpose_against(*, tainted: bool, of_feedback: bool, moves: bool) -> Purpose:
    """What learned from erased words has to be replaced, also by what is only no worse; so has an older base's."""
    return "replace" if moves or (of_feedback and tainted) else "improve"


def replace_baseline(
    folder: Path, baseline: Path | None, tries: int, purpose: Purpose = "improve", base_model: str | None = None
) -> None:
    """Put what serves by now into the folder, to be judged against, for what `purpose`; `tries`: which candidate
    against that one this is; `base_model`: its own, if that is another one.

    A kill in between is mended by `align_baseline`.
    """
    spec = RunSpec.model_validate(files.read_json(folder / "run.json"))
    changed = spec.model_copy(update={"tries": tries, "purpose": purpose, "baseline_base_model": base_model})
    files.write_json(folder / "run.json", changed.model_dump())
    _remove(folder / "baseline")
    if baseline is not None:
        names = [path.name for path in baseline.iterdir() if path.is_file() and path.name != files.MANIFEST]
        files.publish_folder(baseline, folder / "baseline", names)
    align_baseline(folder)


def align_baseline(folder: Path) -> None:
    """Have run.json name the baseline that lies in the folder; one that isn't whole counts as none, and goes."""
    for left in folder.glob(".baseline.*"):
        shutil.rmtree(left)
    spec = RunSpec.model_validate(files.read_json(folder / "run.json"))
    baseline = folder / "baseline"
    if not all((baseline / name).is_file() for name in adapters.CONTENT):
        _remove(baseline)
    present = sorted(path for path in baseline.glob("*") if path.is_file())
    version = files.folder_sha256(baseline, adapters.CONTENT) if present else assistants.BASE_VERSION
    hashes = {name: sha256 for name, sha256 in spec.files.items() if not name.startswith("baseline/")}
    hashes |= {path.relative_to(folder).as_posix(): files.file_sha256(path) for path in present}
    changed = spec.model_copy(update={"baseline_version": version, "files": hashes})
    if changed != spec:
        files.write_json(folder / "run.json", changed.model_dump())


def _remove(baseline: Path) -> None:
    """At once: a kill leaves it whole or away, never without some of its files."""
    if baseline.exists():
        aside = baseline.with_name(f".{baseline.name}.{secrets.token_hex(4)}")
        baseline.rename(aside)
        files.sync_folder(baseline.parent)
        shutil.rmtree(aside)
