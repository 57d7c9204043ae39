"""A run's attempts as folders: what one found, handed on to the next.

Leaves out when an attempt has failed (worker.py).
"""

import shutil
from pathlib import Path

from feedback import files
from feedback.datasets import DATASHEET
from feedback.erasure.folders import take_replies
from feedback.progress import read_metrics
from feedback.run_folder import RunSpec, attempt_folder
from trainer.evaluation import record
from trainer.evaluation.page import page
from trainer.evaluation.verdict import judge


def read_results(folder: Path, attempt: int) -> tuple[RunSpec, record.Evaluation]:
    spec = RunSpec.model_validate(files.read_json(folder / "run.json"))
    found = files.read_json(attempt_folder(folder, attempt) / "evaluation.json")
    return spec, record.Evaluation.model_validate(found)


def without_words(folder: Path, attempt: int) -> None:
    """Take out what versions replied; the report stays, with its numbers."""
    take_replies(folder)
    spec, evaluation = read_results(folder, attempt)
    target = attempt_folder(folder, attempt)
    sheet = files.read_json(folder / DATASHEET) if (folder / DATASHEET).is_file() else {}
    text = page(evaluation, judge(evaluation, spec.verdict), read_metrics(target) or {}, sheet)
    files.write_bytes(target / "report.html", text.encode())


def hand_over(folder: Path, attempt: int) -> None:
    """Let the next attempt go on from what this one left."""
    target = attempt_folder(folder, attempt + 1)
    shutil.rmtree(target, ignore_errors=True)
    attempt_folder(folder, attempt).rename(target)
    files.sync_folder(folder)


def take_back(folder: Path, attempt: int) -> None:
    """Mend what a worker left that handed over and died before it could note the failed attempt."""
    handed_over, own = attempt_folder(folder, attempt + 1), attempt_folder(folder, attempt)
    if handed_over.is_dir() and not own.exists():
        handed_over.rename(own)
        files.sync_folder(folder)
