"""A run's verdict as whoever has to decide wants it: what to do, why, how sure that is, what stands against it.

The verdict and its statistics are the database's; guards' details, losses and replies lie in the run's folder, and are
left out where that isn't shared with whoever asks. Leaves out the judging itself (the trainer).
"""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from sqlmodel import Session, col, select

from feedback import evaluation_file
from feedback.errors import NotFound
from feedback.evaluation_file import Group, Guard, Loss, Outcome, Replies
from feedback.models import AdapterVersion, Assistant, Evaluation, Run
from feedback.run_folder import attempt_folder
from feedback.states import VerdictWord


class Measured(BaseModel):
    """What the candidate gained, with bounds that each miss the truth by the verdict's `chance`; null: no bound."""

    family: str
    measure: str
    decides: bool
    """False: too little of it to decide by."""
    mean: float
    lower: float | None
    upper: float | None
    rows: int
    contributors: int
    worthwhile: float
    """The least gain worth a release."""
    tolerated: float
    """How far it may fall and not stand in the way; 0: it has to gain itself."""


class HeldOut(BaseModel):
    """A plain number on what neither version was trained on."""

    what: str
    rows: int
    share: bool
    """Of 1; else nats a token."""
    baseline: float
    candidate: float


class VerdictReport(BaseModel):
    run: str
    assistant: str
    version: str
    against: str
    at: datetime
    verdict: VerdictWord
    advice: str
    reasons: list[str]
    tries: int
    """Which candidate this is that was held against that version: each may err less often."""
    chance: float | None
    measures: list[Measured]
    held_out: list[HeldOut]
    guards: list[Guard]
    groups: list[Group]
    losses: list[Loss]
    replies: dict[Outcome, int]
    """How many held-out questions the candidate won, lost, or answered alike; none where their words are gone."""


def verdict_report(session: Session, run: Run, runs_folder: Path) -> VerdictReport:
    """Raises NotFound for a run that wasn't judged."""
    newest = select(Evaluation).where(Evaluation.run_id == run.id).order_by(col(Evaluation.id).desc()).limit(1)
    judged = session.exec(newest).first()
    if judged is None:
        raise NotFound(f"{run.id} has no verdict: it wasn't judged (yet).", param="run_id", code="verdict_not_found")
    file = _file_of(run, runs_folder) or {}
    assistant = session.get_one(Assistant, run.assistant_id)
    candidate, baseline = (session.get_one(AdapterVersion, one) for one in (judged.candidate_id, judged.baseline_id))
    statistics = judged.statistics
    return VerdictReport(
        run=run.id,
        assistant=assistant.name,
        version=f"{assistant.name}@{candidate.number}",
        against=f"{assistant.name}@{baseline.number}",
        at=judged.created_at,
        verdict=judged.verdict,
        advice=evaluation_file.advice(judged.verdict, file.get("purpose", "improve")),
        reasons=judged.reasons,
        tries=statistics.get("tries", 1),
        chance=statistics.get("alpha_per_family"),
        measures=_measures(statistics),
        held_out=_held_out(statistics),
        guards=evaluation_file.guards_of(file) or _guards_told(statistics),
        groups=evaluation_file.groups_of(file),
        losses=evaluation_file.losses_of(file),
        replies=_counted(file),
    )


def list_replies(
    run: Run, runs_folder: Path, outcome: Outcome | None = None, *, after: str | None = None, limit: int = 20
) -> list[Replies]:
    """What baseline and candidate said to held-out questions; `after`: the id of the last one that was seen."""
    file = _file_of(run, runs_folder)
    if file is None:
        raise NotFound(f"{run.id} has no {evaluation_file.EVALUATION} here: it wasn't judged (yet), or elsewhere.")
    found = evaluation_file.replies_of(file, outcome)
    places = {one.id: place for place, one in enumerate(found)}
    if after is not None and after not in places:
        raise NotFound(f"{run.id} has no held-out row '{after}' there.", param="after")
    start = 0 if after is None else places[after] + 1
    return found[start : start + limit]


def _file_of(run: Run, runs_folder: Path) -> dict[str, Any] | None:
    return evaluation_file.read(attempt_folder(runs_folder / run.id, run.attempt))


def _counted(file: Mapping[str, Any]) -> dict[Outcome, int]:
    said = evaluation_file.replies_of(file)
    if not any(one.candidate.reply or one.baseline.reply for one in said):
        return {}
    counts = Counter(one.outcome for one in said)
    return {outcome: counts[outcome] for outcome in get_args(Outcome)}


def _measures(statistics: Mapping[str, Any]) -> list[Measured]:
    return [
        Measured(
            **{"tolerated": 0.0, "worthwhile": 0.0, **numbers},
            family=name,
            measure=measure,
            decides=family["decides"],
        )
        for name, family in statistics.get("families", {}).items()
        for measure, numbers in family["measures"].items()
    ]


def _held_out(statistics: Mapping[str, Any]) -> list[HeldOut]:
    rows, all_rows = statistics.get("rows_with_key_facts", 0), statistics.get("gate_rows", 0)
    choices = statistics.get("choices") or {}
    found = (
        ("key facts recalled", rows, True, statistics.get("recall")),
        ("contrast, nats a token", all_rows, False, statistics.get("contrast")),
        ("loss, nats a token (reported only)", all_rows, False, statistics.get("loss")),
        ("choices right", choices.get("pairs", 0), True, choices),
    )
    return [
        HeldOut(what=what, rows=count, share=share, baseline=both["baseline"], candidate=both["candidate"])
        for what, count, share, both in found
        if both
    ]


def _guards_told(statistics: Mapping[str, Any]) -> list[Guard]:
    """Their outcomes alone, where the folder isn't at hand."""
    told = [{"name": name, "outcome": outcome, "detail": ""} for name, outcome in statistics.get("guards", {}).items()]
    return evaluation_file.guards_of({"guards": told})
