"""What a run started now would train on and take, before it is queued: curated in memory, measured by the trainer.

Nothing is written but a scratch folder beside the runs, with what a few steps leave; it is removed, and what a kill
leaves of it goes when a worker starts a day later. Leaves out freezing: a run gathers anew what was said by then.
"""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from feedback import assistants, datasets, runs
from feedback.config import Settings
from feedback.database import Database
from feedback.errors import InvalidInput, RunFailed
from feedback.models import Assistant, Run
from feedback.processes import estimate_command
from feedback.progress import read_metrics
from feedback.run_folder import SPLITS, attempt_folder
from feedback.states import RunStatus


def try_out(
    settings: Settings, database: Database, name: str, search_trials: int | None = None, base_model: str | None = None
) -> dict[str, Any]:
    """The trainer's estimate, and with `judging_seconds` what judging took the assistant's last run.

    `search_trials`, `base_model`: as `runs.request` takes them.
    """
    with database.read() as session:
        assistant = assistants.get_assistant(session, name)
        if assistant.name == assistants.BASE_VERSION:
            raise InvalidInput("'base' is the bare model and never learns: try an assistant.")
        material = datasets.gather_material(session, assistant)
        judging = _last_judging(session, assistant, settings.runs)
    curated = datasets.curate_material(material)
    if not curated.methods:
        raise InvalidInput(
            f"Nothing to train on: {curated.funnel[0][1]} pieces of feedback came in, none was left for the training "
            f"side; `burnish dataset preview {name}` says why."
        )
    plan = {
        "base_model": base_model or assistant.base_model,
        "methods": curated.methods,
        "hyperparameters": runs.with_search(material.about.policies.hyperparameters, search_trials).model_dump(),
        "seed": 1,
        "processes": settings.trainer_processes,
    }
    prompt = datasets.prompt_of(material.guidelines)

    def lines() -> Iterator[str]:
        yield json.dumps(plan)
        for one in curated.rows:
            if one.side in SPLITS:
                yield json.dumps({"side": one.side, "row": one.row(prompt).model_dump()})

    return {"assistant": name, **_measure(settings, lines()), "judging_seconds": judging}


def _measure(settings: Settings, lines: Iterator[str]) -> dict[str, Any]:
    settings.runs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.runs, prefix=".dry-run-") as scratch:
        process = subprocess.run(
            estimate_command(settings, Path(scratch)),
            input="\n".join(lines),
            capture_output=True,
            text=True,
            check=False,
        )
    if process.returncode != 0:
        told = process.stderr.strip().splitlines()
        raise RunFailed(f"The trainer could not measure it: {told[-1][-500:] if told else 'it ended without a word.'}")
    found: dict[str, Any] = json.loads(process.stdout)
    return found


def _last_judging(session: Session, assistant: Assistant, runs_folder: Path) -> float | None:
    judged = (
        select(Run)
        .where(Run.assistant_id == assistant.id, Run.status == RunStatus.SUCCEEDED)
        .order_by(col(Run.created_at).desc())
        .limit(1)
    )
    run = session.exec(judged).first()
    metrics = read_metrics(attempt_folder(runs_folder / run.id, run.attempt)) if run is not None else None
    seconds: float | None = (metrics or {}).get("seconds", {}).get("evaluate")
    return seconds
