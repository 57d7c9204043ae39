"""What an operator wants to see of two versions that serve beside each other: the evidence so far, and what is next."""

from datetime import datetime

from pydantic import BaseModel
from sqlmodel import Session

from feedback import rollout
from feedback.models import Assistant
from feedback.states import ReleaseState


class TrialReport(BaseModel):
    version: str
    beside: str
    state: ReleaseState
    percent: int
    since: datetime
    """When its present stage began; the numbers are since the trial did, but for reports and failures."""
    next: str
    why: str
    replies: int
    replies_beside: int
    choices_won: int
    choices_lost: int
    ratings_won: int
    ratings_lost: int
    reports: int
    reports_beside: int
    failed: int
    failed_beside: int
    slower: int
    """Of `timed` pairs of replies, those that it took half as long again for, or longer."""
    timed: int
    e_value_better: float
    e_value_worse: float


def trial_report(session: Session, assistant: Assistant) -> TrialReport | None:
    seen = rollout.look(session, assistant)
    if seen is None:
        return None
    found = seen.evidence
    return TrialReport(
        version=f"{assistant.name}@{seen.new.number}",
        beside=f"{assistant.name}@{seen.old.number}",
        state=seen.release.state,
        percent=seen.release.traffic_percent,
        since=seen.release.stage_at or seen.release.created_at,
        next=seen.step.move.value,
        why=seen.step.reason,
        replies=found.replies[0],
        replies_beside=found.replies[1],
        choices_won=found.choices.wins,
        choices_lost=found.choices.losses,
        ratings_won=found.ratings.wins,
        ratings_lost=found.ratings.losses,
        reports=found.reports.wins,
        reports_beside=found.reports.losses,
        failed=found.errors.wins,
        failed_beside=found.errors.losses,
        slower=found.slowness.wins,
        timed=found.slowness.wins + found.slowness.losses,
        e_value_better=round(found.better, 3),
        e_value_worse=round(found.worse, 3),
    )
