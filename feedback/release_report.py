"""What an operator wants to see of releases: what serves, what is tried beside it and how that goes, what waits for a
word, and what promoting or rolling back would do.

Leaves out the moves (releases.py), which have the last word whatever was said here before.
"""

from datetime import datetime

from pydantic import BaseModel, Field
from sqlmodel import Session, col, select

from feedback import approvals, assistants, evaluations, lineage, releases, rollout
from feedback.models import AdapterVersion, Assistant, Evaluation, Release, Run
from feedback.states import ReleaseState, Side, VerdictWord


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


class Moved(BaseModel):
    """What became of a release that somebody moved."""

    live: str
    replaced: str
    reason: str
    version: str = Field(description="The one that was moved.")
    state: ReleaseState
    percent: int
    approved_by: list[str]
    approvals_needed: int


class ReleaseRead(BaseModel):
    """A release: one version's turn to serve, or to wait for it."""

    id: str
    version: str
    state: ReleaseState
    percent: int
    by: str
    reason: str
    verdict: VerdictWord | None
    approved_by: list[str]
    created_at: datetime
    tried_at: datetime | None
    live_at: datetime | None
    ended_at: datetime | None


class PromotionOutlook(BaseModel):
    """What promoting a version would do, for whoever asks."""

    version: str
    serving: str
    verdict: VerdictWord | None
    reasons: list[str]
    run: str | None
    refused: list[str]
    """What stands against it that no force overrides."""
    needs_force: bool
    """No evaluation found it better than what serves, and it never served."""
    state: ReleaseState
    """What it would be then: proposed if it needs others' approval too, on trial, or live."""
    may_skip_trial: bool
    must_skip_trial: bool
    """It is for another base model, and can't be tried beside what serves."""
    percent: int
    shadow_replies: int
    approved_by: list[str]
    approvals_needed: int
    holdout_percent: int


class RollBackOutlook(BaseModel):
    """What rolling back would do."""

    takes_back: str
    number: int
    since: datetime
    on_trial: bool
    """What is on trial goes; what serves goes on serving."""
    serves_then: str
    first_served: datetime | None
    """When what would serve did so for the first time."""
    served_until: datetime | None
    tainted_reason: str | None
    """Of what would serve; then it has to be accepted."""
    learned: int
    """Pieces of feedback that the version that is taken back learned from."""
    learned_then: int
    """The same of what would serve."""
    base_model: str | None
    """The one that services have to be started with, where it is another one."""


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


def moved(session: Session, assistant: Assistant, release: Release, before: AdapterVersion) -> Moved:
    """`before`: what served until then."""
    version = session.get_one(AdapterVersion, release.adapter_version_id)
    return Moved(
        live=f"{assistant.name}@{releases.live(session, assistant).version.number}",
        replaced=f"{assistant.name}@{before.number}",
        reason=release.reason,
        version=f"{assistant.name}@{version.number}",
        state=release.state,
        percent=release.traffic_percent,
        approved_by=_approved_by(session, release),
        approvals_needed=assistants.policies(assistant).release.approvals,
    )


def history(session: Session, assistant: Assistant, limit: int = 20, *, after: int | None = None) -> list[ReleaseRead]:
    """The newest first."""
    return [_read(session, assistant, one) for one in releases.list_releases(session, assistant, limit, after=after)]


def current(session: Session, assistant: Assistant) -> ReleaseRead:
    """What serves."""
    return _read(session, assistant, releases.live(session, assistant).release)


def can_roll_back(session: Session, assistant: Assistant) -> bool:
    """Whether something is on trial, or served before what serves."""
    replaced = releases.live(session, assistant).release.replaces_id is not None
    return replaced or releases.on_trial(session, assistant) is not None


def proposals(session: Session, assistant: Assistant) -> list[ReleaseRead]:
    """What waits for a word, or for another one."""
    waiting = select(Release).where(Release.assistant_id == assistant.id, Release.state == ReleaseState.PROPOSED)
    return [_read(session, assistant, one) for one in session.exec(waiting.order_by(col(Release.id).desc()))]


def promotion_outlook(
    session: Session, assistant: Assistant, version: AdapterVersion, *, actor: str
) -> PromotionOutlook:
    policy, live = assistants.policies(assistant).release, releases.live(session, assistant)
    trial, proposal = releases.on_trial(session, assistant), releases.proposed(session, assistant, version)
    on_trial = trial is not None and trial.adapter_version_id == version.id
    run = session.get(Run, version.run_id) if version.run_id else None
    evaluation = evaluations.newest(session, version)
    moves = version.base_model != live.version.base_model
    given = _approved_by(session, proposal) if proposal else []
    refused = []
    if live.version.id == version.id:
        refused.append("It serves already.")
    if version.tainted_at is not None:
        refused.append(f"It is tainted: {version.tainted_reason}")
    if policy.frozen:
        refused.append("Releases are frozen: thaw them first.")
    if trial is not None and not on_trial:
        tried = session.get_one(AdapterVersion, trial.adapter_version_id)
        refused.append(f"{assistant.name}@{tried.number} is on trial: promote it or take it back first.")
    if policy.separate_duties and run is not None and run.requested_by == actor:
        refused.append(f"{actor} asked for the run that made it: somebody else has to promote it.")
    tried_first = policy.on_trial_first and not on_trial and version.number > 0
    state = ReleaseState.LIVE
    if policy.approvals > 1 and len({*given, actor}) < policy.approvals:
        state = ReleaseState.PROPOSED
    elif tried_first and not moves:
        state = ReleaseState.SHADOW if policy.shadow_replies else ReleaseState.CANARY
    return PromotionOutlook(
        version=f"{assistant.name}@{version.number}",
        serving=f"{assistant.name}@{live.version.number}",
        verdict=evaluation.verdict if evaluation else None,
        reasons=evaluation.reasons if evaluation else [],
        run=version.run_id,
        refused=refused,
        needs_force=not evaluations.may_serve(session, version, evaluation, live.version),
        state=state,
        may_skip_trial=tried_first and not moves,
        must_skip_trial=moves,
        percent=policy.canary_percents[0] if policy.canary_percents else 100,
        shadow_replies=policy.shadow_replies,
        approved_by=given,
        approvals_needed=policy.approvals,
        holdout_percent=policy.holdout_percent,
    )


def roll_back_outlook(session: Session, assistant: Assistant) -> RollBackOutlook:
    """Raises InvalidInput where there is nothing to go back to."""
    live, trial = releases.live(session, assistant), releases.on_trial(session, assistant)
    goes = live if trial is None else releases.Live(trial, session.get_one(AdapterVersion, trial.adapter_version_id))
    stays = releases.before(session, assistant, live) if trial is None else live
    served = select(Release.live_at).where(
        Release.adapter_version_id == stays.version.id, col(Release.live_at).is_not(None)
    )
    return RollBackOutlook(
        takes_back=f"{assistant.name}@{goes.version.number}",
        number=goes.version.number,
        since=goes.release.live_at or goes.release.tried_at or goes.release.created_at,
        on_trial=trial is not None,
        serves_then=f"{assistant.name}@{stays.version.number}",
        first_served=session.exec(served.order_by(col(Release.id)).limit(1)).first(),
        served_until=None if trial is not None else stays.release.ended_at or live.release.live_at,
        tainted_reason=stays.version.tainted_reason if trial is None else None,
        learned=_learned(session, goes.version),
        learned_then=_learned(session, stays.version),
        base_model=stays.version.base_model if stays.version.base_model != live.version.base_model else None,
    )


def _learned(session: Session, version: AdapterVersion) -> int:
    """Pieces of feedback that taught it."""
    run = session.get(Run, version.run_id) if version.run_id else None
    if run is None or run.dataset_version_id is None:
        return 0
    return sum(lineage.sources_of(session, run.dataset_version_id).by_side.get(Side.TRAIN, {}).values())


def _approved_by(session: Session, release: Release) -> list[str]:
    return [one.actor for one in approvals.given(session, release)]


def _read(session: Session, assistant: Assistant, release: Release) -> ReleaseRead:
    version = session.get_one(AdapterVersion, release.adapter_version_id)
    evaluation = session.get(Evaluation, release.evaluation_id) if release.evaluation_id else None
    return ReleaseRead(
        id=str(release.id),
        version=f"{assistant.name}@{version.number}",
        state=release.state,
        percent=release.traffic_percent,
        by=release.actor,
        reason=release.reason,
        verdict=evaluation.verdict if evaluation else None,
        approved_by=_approved_by(session, release),
        created_at=release.created_at,
        tried_at=release.tried_at,
        live_at=release.live_at,
        ended_at=release.ended_at,
    )
