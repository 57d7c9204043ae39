"""A candidate's way from a promotion to everybody: shadow, canary, live; and back by itself when the evidence turns.

    promote ─▶ SHADOW ─▶ CANARY p₁ % ─▶ … ─▶ LIVE, the replaced one a HOLDOUT ─▶ RETIRED
                 └───────────┴──▶ DECLINED    └──▶ rolled back

Every step is a compare-and-set on the release's stage, so that several services may all look after it. Promises that a
step says which evidence it was taken on. Leaves out the steps themselves (releases.py), who goes to which version
(service/routing.py) and what the evidence is (live_evidence.py).
"""

from dataclasses import dataclass
from enum import Enum

from sqlalchemy import func
from sqlmodel import Session, col, select

from feedback import assistants, refusals, releases
from feedback.columns import now
from feedback.errors import Conflict, InvalidInput
from feedback.evidence import ACT_AT
from feedback.live_evidence import WEIGHTS, LiveEvidence, gather
from feedback.models import AdapterVersion, Assistant, Release
from feedback.policies import ReleasePolicy
from feedback.states import ON_TRIAL, ReleaseState
from feedback.trials import ShadowReply

DOUBT_AT = 4.0
"""An e-value against a canary from which it doesn't grow until that has passed."""


class Move(Enum):
    STAY = "stay"
    GROW = "grow"
    TAKE_BACK = "take back"
    END = "end the holdout"


@dataclass(frozen=True)
class Step:
    move: Move
    reason: str
    percent: int = 0
    """The share to grow to; 100: live."""


def next_step(
    state: ReleaseState,
    percent: int,
    seconds: float,
    evidence: LiveEvidence,
    policy: ReleasePolicy,
    shadow_replies: int = 0,
    shadow_failures: int = 0,
) -> Step:
    """What evidence and policy ask for, of a release that has been in this stage for so many seconds."""
    if state == ReleaseState.SHADOW:
        return _after_shadow(shadow_replies, shadow_failures, policy)
    if evidence.worse >= ACT_AT:
        return Step(Move.TAKE_BACK, f"{evidence.worst()} (e-value {evidence.worse:.0f}, {ACT_AT:.0f} take it back).")
    if state == ReleaseState.LIVE:
        if seconds < policy.holdout_seconds:
            return Step(Move.STAY, f"{seconds:.0f} of {policy.holdout_seconds:.0f} seconds beside the version before.")
        return Step(Move.END, "its time beside the version before is over, and nothing spoke against it.")
    if policy.frozen:
        return Step(Move.STAY, "releases are frozen.")
    if evidence.worse >= DOUBT_AT:
        return Step(Move.STAY, f"it waits: {evidence.worst()} (e-value {evidence.worse:.1f}).")
    if seconds < policy.canary_seconds:
        return Step(Move.STAY, f"{seconds:.0f} of {policy.canary_seconds:.0f} seconds at {percent:g} %.")
    if evidence.replies[0] < policy.canary_replies:
        return Step(Move.STAY, f"{evidence.replies[0]} of {policy.canary_replies} replies.")
    share = next((one for one in policy.canary_percents if one > percent), 100)
    return Step(Move.GROW, f"nothing spoke against it in {evidence.replies[0]} replies at {percent:g} %.", share)


def _after_shadow(replies: int, failures: int, policy: ReleasePolicy) -> Step:
    if failures > 3 and failures > replies / 20:
        return Step(Move.TAKE_BACK, f"{failures} of {replies} replies that nobody saw had no words.")
    if policy.frozen:
        return Step(Move.STAY, "releases are frozen.")
    if replies < policy.shadow_replies:
        return Step(Move.STAY, f"{replies} of {policy.shadow_replies} replies that nobody sees.")
    return Step(Move.GROW, f"{replies} replies that nobody saw went well.", next(iter(policy.canary_percents), 100))


@dataclass(frozen=True)
class OnTrial:
    """Two versions that serve beside each other: the newer one, on trial or live, and the one before."""

    release: Release
    new: AdapterVersion
    old: AdapterVersion
    evidence: LiveEvidence
    step: Step


def look(session: Session, assistant: Assistant) -> OnTrial | None:
    """How the version on trial does, or the live one beside its holdout; None where only one serves."""
    release, current = releases.on_trial(session, assistant), releases.live(session, assistant)
    beside = current.release
    if release is None:
        held = releases.holdout(session, assistant)
        if held is None:
            return None
        release, beside = current.release, held
    new = session.get_one(AdapterVersion, release.adapter_version_id)
    old = session.get_one(AdapterVersion, beside.adapter_version_id)
    policy = assistants.policies(assistant).release
    percent = 100.0 - beside.traffic_percent if release.state == ReleaseState.LIVE else release.traffic_percent
    stages = max(1, len(policy.canary_percents) + (policy.holdout_percent > 0))
    evidence = gather(session, release, beside, percent=percent, stages=stages)
    seconds = (now() - (release.stage_at or release.created_at)).total_seconds()
    shadowed = _shadowed(session, release)
    step = next_step(release.state, release.traffic_percent, seconds, evidence, policy, *shadowed)
    return OnTrial(release, new, old, evidence, step)


def with_two_versions(session: Session) -> list[Assistant]:
    """Assistants of which a version is on trial, or held out."""
    states = (*ON_TRIAL, ReleaseState.HOLDOUT)
    beside = select(Release.assistant_id).where(col(Release.state).in_(states))
    return list(session.exec(select(Assistant).where(col(Assistant.id).in_(beside)).order_by(col(Assistant.id))))


def advance(session: Session, assistant: Assistant) -> OnTrial | None:
    """Look, and take the step that is due; returns what was looked at, if one was taken."""
    seen = look(session, assistant)
    if seen is None or seen.step.move == Move.STAY:
        return None
    take(session, assistant, seen)
    return seen


def take(session: Session, assistant: Assistant, seen: OnTrial) -> None:
    """Take the step that was seen to be due. Raises Conflict if the release was moved on since."""
    release, step = session.get_one(Release, seen.release.id, populate_existing=True), seen.step
    if (release.state, release.traffic_percent) != (seen.release.state, seen.release.traffic_percent):
        raise Conflict("The release was moved on meanwhile: look again.")
    if step.move == Move.TAKE_BACK:
        releases.roll_back(
            session, assistant, actor=releases.EVIDENCE, reason=step.reason, expected_live=seen.new.number
        )
    elif step.move == Move.END:
        releases.end_holdout(session, assistant, reason=step.reason)
    elif step.percent >= 100:
        releases.finish_trial(
            session,
            assistant,
            release,
            actor=releases.EVIDENCE,
            reason=step.reason,
            of_stage=seen.evidence.of_stage,
        )
    else:
        releases.change_share(
            session,
            assistant,
            release,
            step.percent,
            actor=releases.EVIDENCE,
            reason=step.reason,
            of_stage=seen.evidence.of_stage,
        )


def set_share(
    session: Session, assistant: Assistant, percent: int, *, actor: str, reason: str, expected: int | None = None
) -> Release:
    """Give what is on trial a share of the conversations by a person's word; a shadow becomes a canary by that.

    A new stage begins, from whose share it grows on by policy. What spoke against it weighs as much as before: the
    stage's part of it is kept but for the stake that each stage begins with, or every move would count against it.
    `expected`: number of the version that is meant; Conflict if another one is on trial. Raises InvalidInput where
    nothing is on trial, and where a larger share is wanted of a frozen or a tainted one.
    """
    if not 1 <= percent <= 99:
        raise InvalidInput(
            f"A share is from 1 to 99 percent, not {percent}: promote it to serve all, roll it back to serve none.",
            param="percent",
        )
    releases.live(session, assistant, lock=True)
    seen = look(session, assistant)
    if seen is None or seen.release.state not in ON_TRIAL:
        raise InvalidInput(f"Nothing of '{assistant.name}' is on trial: promote a version to try it.", code="no_trial")
    if expected not in (None, seen.new.number):
        raise Conflict(f"{assistant.name}@{seen.new.number} is on trial, not @{expected}: look again.")
    release = seen.release
    if percent > release.traffic_percent:
        refusals.refuse_frozen(assistant)
        refusals.refuse_tainted(session, assistant, seen.new.id)
    stake = (WEIGHTS["reports"] + WEIGHTS["errors"]) / seen.evidence.stages
    of_stage = seen.evidence.of_stage - stake
    releases.change_share(session, assistant, release, percent, actor=actor, reason=reason, of_stage=of_stage)
    return release


def _shadowed(session: Session, release: Release) -> tuple[int, int]:
    """Replies that nobody saw, and how many of them failed."""
    of_it = ShadowReply.release_id == release.id
    seen = session.exec(select(func.count()).where(of_it)).one()
    return seen, session.exec(select(func.count()).where(of_it, col(ShadowReply.failed).is_(True))).one()
