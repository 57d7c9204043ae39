"""Which adapter version serves an assistant: propose, approve, try, promote, roll back. Going live only moves a
pointer.

    PROPOSED ─▶ SHADOW ─▶ CANARY ─▶ LIVE ─▶ HOLDOUT ─▶ RETIRED
        └──────────┴─────────┴──▶ VETOED, or DECLINED when overtaken

Every move is a compare-and-set on the state that it was decided on: of two movers at once, one gets Conflict. A version
is tainted when something that it learned from, or was judged by, was erased: it goes live no more, unless an operator
rolls back to it and says so. All transitions of a release's state are here; rollout.py says when one on trial is due.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import update
from sqlmodel import Session, col, select

from feedback import approvals, assistants, audit, evaluations, refusals
from feedback.columns import now
from feedback.errors import Conflict, InvalidInput
from feedback.models import AdapterVersion, Assistant, Evaluation, Release
from feedback.policies import ReleasePolicy
from feedback.states import ON_TRIAL, ReleaseState
from feedback.webhooks import hooks

EVIDENCE = "evidence"
"""Who takes a step that nobody asked for, in the audit log."""


@dataclass(frozen=True)
class Live:
    release: Release
    version: AdapterVersion


def live(session: Session, assistant: Assistant, *, lock: bool = False) -> Live:
    """`lock`: nobody else moves the assistant's releases before the transaction ends."""
    chosen = (
        select(Release, AdapterVersion)
        .join(AdapterVersion, col(AdapterVersion.id) == col(Release.adapter_version_id))
        .where(Release.assistant_id == assistant.id, Release.state == ReleaseState.LIVE)
    )
    if lock:
        session.exec(select(Assistant.id).where(Assistant.id == assistant.id).with_for_update(key_share=True)).one()
    release, version = session.exec(chosen).one()
    return Live(release, version)


def propose(session: Session, assistant: Assistant, evaluation: Evaluation, *, actor: str) -> Release:
    """Put a candidate that was judged PROMOTE forward for an operator's word; older proposals lapse."""
    refusals.refuse_tainted(session, assistant, evaluation.candidate_id)
    decline_proposals(session, assistant)
    release = Release(
        assistant_id=assistant.id,
        adapter_version_id=evaluation.candidate_id,
        state=ReleaseState.PROPOSED,
        evaluation_id=evaluation.id,
        actor=actor,
        reason="Judged fit to take the place of what serves.",
    )
    session.add(release)
    session.flush()
    audit.record(session, actor, "release.propose", f"{assistant.name}", version_id=evaluation.candidate_id)
    _tell(session, assistant, release, "release.proposed")
    return release


def promote(
    session: Session,
    assistant: Assistant,
    version: AdapterVersion,
    *,
    actor: str,
    reason: str,
    expected_release_id: int | None = None,
    force: bool = False,
    at_once: bool = False,
) -> Release:
    """Make `version` the one that serves, after a trial if the assistant's policy wants one (not with `at_once`).

    The release's state tells how far that got: PROPOSED if it needs another person's approval, SHADOW or CANARY if it
    is tried first, else LIVE. Promoting what is on trial ends the trial. Raises InvalidInput when it serves already, is
    tainted, releases are frozen, or when no evaluation found it better than what serves now and it never served before
    (`force` overrides that alone, and is audited); Conflict when another release went live meanwhile.
    """
    if version.assistant_id != assistant.id:
        raise InvalidInput(f"Version {version.sha256[:12]} isn't one of '{assistant.name}'.")
    current = live(session, assistant, lock=True)
    if expected_release_id not in (None, current.release.id):
        raise _overtaken(assistant)
    if current.version.id == version.id:
        raise InvalidInput(f"{assistant.name}@{version.number} serves already.")
    refusals.refuse_tainted(session, assistant, version.id)
    evaluation = evaluations.newest(session, version)
    if not force:
        refusals.refuse_unproven(session, assistant, version, evaluation, current.version)
    if not at_once:
        refusals.refuse_to_move(assistant, version, current.version)
    policy = assistants.policies(assistant).release
    refusals.refuse_frozen(assistant)
    trial = on_trial(session, assistant)
    if trial is not None and trial.adapter_version_id != version.id:
        tried = session.get_one(AdapterVersion, trial.adapter_version_id)
        raise InvalidInput(
            f"{assistant.name}@{tried.number} is on trial: promote it or take it back first "
            f"(`burnish adapters rollback {assistant.name} --from {tried.number}`)."
        )
    release = trial or proposed(session, assistant, version) or _new_release(assistant, version, evaluation, actor)
    if missing := approvals.give(session, assistant, release, policy, actor=actor, reason=reason):
        audit.record(session, actor, "release.approve", f"{assistant.name}@{version.number}", missing=missing)
        return release
    release.actor, release.reason = actor, reason
    if trial is None and policy.on_trial_first and not at_once and version.number:
        return _begin_trial(session, assistant, release, current, policy, forced=force)
    return _go_live(session, assistant, release, current, action="release.promote", forced=force)


def roll_back(
    session: Session,
    assistant: Assistant,
    *,
    actor: str,
    reason: str,
    expected_live: int | None = None,
    accept_tainted: bool = False,
) -> Release:
    """Take back what is on trial; else let the version serve again that the live release replaced. Repeated, it walks
    further back.

    `expected_live`: number of the version to take back; Conflict if another one serves, so that asking twice is
    harmless. `accept_tainted`: even if the version learned from what was erased since.
    """
    current = live(session, assistant, lock=True)
    trial = on_trial(session, assistant)
    if trial is not None:
        tried = session.get_one(AdapterVersion, trial.adapter_version_id)
        if expected_live in (None, tried.number):
            return end_trial(session, assistant, trial, actor=actor, reason=reason)
        raise Conflict(f"{assistant.name}@{tried.number} is on trial: take that back first.")
    if expected_live is not None and current.version.number != expected_live:
        raise Conflict(f"{assistant.name}@{expected_live} doesn't serve (any more): @{current.version.number} does.")
    earlier = before(session, assistant, current)
    if not accept_tainted:
        remedy = 'or roll back with `--accept-tainted` (over HTTP `"accept_tainted": true`)'
        refusals.refuse_tainted(session, assistant, earlier.version.id, remedy)
    release = _new_release(assistant, earlier.version, None, actor)
    release.replaces_id, release.reason = earlier.release.replaces_id, reason
    return _go_live(session, assistant, release, current, action="release.roll_back", forced=accept_tainted)


def before(session: Session, assistant: Assistant, current: Live) -> Live:
    """What served before `current`, and would again if that were taken back. Raises InvalidInput if nothing did."""
    if current.release.replaces_id is None:
        raise InvalidInput(f"Nothing served '{assistant.name}' before {assistant.name}@{current.version.number}.")
    release = session.get_one(Release, current.release.replaces_id)
    return Live(release, session.get_one(AdapterVersion, release.adapter_version_id))


def on_trial(session: Session, assistant: Assistant) -> Release | None:
    chosen = select(Release).where(Release.assistant_id == assistant.id, col(Release.state).in_(ON_TRIAL))
    return session.exec(chosen).first()


def holdout(session: Session, assistant: Assistant) -> Release | None:
    """The release that the live one replaced, while it keeps a share of the conversations."""
    chosen = select(Release).where(Release.assistant_id == assistant.id, Release.state == ReleaseState.HOLDOUT)
    return session.exec(chosen).first()


def proposed(session: Session, assistant: Assistant, version: AdapterVersion) -> Release | None:
    return session.exec(
        select(Release).where(
            Release.assistant_id == assistant.id,
            Release.adapter_version_id == version.id,
            Release.state == ReleaseState.PROPOSED,
        )
    ).first()


def veto(session: Session, assistant: Assistant, version: AdapterVersion, *, actor: str, reason: str) -> Release:
    """Turn a proposal down for good, with a reason; what is on trial is taken back."""
    release = proposed(session, assistant, version)
    if release is None:
        trial = on_trial(session, assistant)
        if trial is None or trial.adapter_version_id != version.id:
            raise InvalidInput(f"{assistant.name}@{version.number} is neither proposed nor on trial.")
        return end_trial(session, assistant, trial, actor=actor, reason=reason)
    _change(session, release, ReleaseState.VETOED, ended_at=now(), actor=actor, reason=reason)
    audit.record(session, actor, "release.veto", f"{assistant.name}@{version.number}", reason=reason)
    _tell(session, assistant, release, "release.vetoed")
    return release


def change_share(
    session: Session,
    assistant: Assistant,
    release: Release,
    percent: int,
    *,
    actor: str,
    reason: str,
    of_stage: float = 0.0,
) -> None:
    """Give what is on trial another share of the conversations, in percent. `of_stage`: what speaks against it from the
    stage that ends here (live_evidence.py)."""
    version = session.get_one(AdapterVersion, release.adapter_version_id)
    carried = release.carried_evidence + of_stage
    _change(session, release, ReleaseState.CANARY, traffic_percent=percent, carried_evidence=carried)
    audit.record(session, actor, "release.grow", f"{assistant.name}@{version.number}", percent=percent, reason=reason)
    _tell(session, assistant, release, "release.canary")


def finish_trial(
    session: Session, assistant: Assistant, release: Release, *, actor: str, reason: str, of_stage: float = 0.0
) -> Release:
    """Let what was on trial serve everybody."""
    refusals.refuse_tainted(session, assistant, release.adapter_version_id)
    release.actor, release.reason = actor, reason
    release.carried_evidence += of_stage
    return _go_live(session, assistant, release, live(session, assistant), action="release.promote", forced=False)


def end_trial(session: Session, assistant: Assistant, release: Release, *, actor: str, reason: str) -> Release:
    """Take what is on trial back: every conversation goes to the live version again."""
    version = session.get_one(AdapterVersion, release.adapter_version_id)
    _change(session, release, ReleaseState.VETOED, traffic_percent=0, ended_at=now(), actor=actor, reason=reason)
    audit.record(session, actor, "release.take_back", f"{assistant.name}@{version.number}", reason=reason)
    _tell(session, assistant, release, "release.taken_back")
    return release


def end_holdout(session: Session, assistant: Assistant, *, reason: str) -> None:
    """The version before serves nobody any more: every conversation goes to the live version."""
    held = holdout(session, assistant)
    if held is not None:
        version = session.get_one(AdapterVersion, held.adapter_version_id)
        _change(session, held, ReleaseState.RETIRED, traffic_percent=0, ended_at=now())
        audit.record(session, EVIDENCE, "release.settle", f"{assistant.name}@{version.number}", reason=reason)


def decline_proposals(session: Session, assistant: Assistant) -> None:
    """Turn down what waits for an operator's word."""
    lapsed = update(Release).where(
        col(Release.assistant_id) == assistant.id, col(Release.state) == ReleaseState.PROPOSED
    )
    session.connection().execute(lapsed.values(state=ReleaseState.DECLINED, ended_at=now()))


def withdraw(session: Session, assistant: Assistant, versions: Sequence[int], *, actor: str, reason: str) -> None:
    """These versions, which were tainted, serve no more beside the live one, and are no longer proposed."""
    states = (ReleaseState.PROPOSED, *ON_TRIAL, ReleaseState.HOLDOUT)
    chosen = select(Release).where(
        Release.assistant_id == assistant.id,
        col(Release.adapter_version_id).in_(versions),
        col(Release.state).in_(states),
    )
    for release in session.exec(chosen).all():
        if release.state in ON_TRIAL:
            end_trial(session, assistant, release, actor=actor, reason=reason)
        elif release.state == ReleaseState.HOLDOUT:
            end_holdout(session, assistant, reason=reason)
        else:
            _change(session, release, ReleaseState.DECLINED, ended_at=now(), actor=actor, reason=reason)


def list_releases(
    session: Session, assistant: Assistant, limit: int = 20, *, after: int | None = None
) -> list[Release]:
    """The newest first; older than the release `after`, if that is given."""
    chosen = select(Release).where(Release.assistant_id == assistant.id).order_by(col(Release.id).desc()).limit(limit)
    return list(session.exec(chosen if after is None else chosen.where(col(Release.id) < after)))


def _new_release(assistant: Assistant, version: AdapterVersion, evaluation: Evaluation | None, actor: str) -> Release:
    return Release(
        assistant_id=assistant.id,
        adapter_version_id=version.id,
        state=ReleaseState.PROPOSED,
        evaluation_id=evaluation.id if evaluation else None,
        actor=actor,
        reason="",
    )


def _begin_trial(
    session: Session, assistant: Assistant, release: Release, current: Live, policy: ReleasePolicy, *, forced: bool
) -> Release:
    session.add(release)
    session.flush()
    state = ReleaseState.SHADOW if policy.shadow_replies else ReleaseState.CANARY
    percent = 0 if policy.shadow_replies else policy.canary_percents[0]
    _change(session, release, state, traffic_percent=percent, replaces_id=current.release.id, tried_at=now())
    version = session.get_one(AdapterVersion, release.adapter_version_id)
    audit.record(
        session,
        release.actor,
        f"release.{state.value}",
        f"{assistant.name}@{version.number}",
        beside=f"{assistant.name}@{current.version.number}",
        percent=percent,
        reason=release.reason,
        evaluation=release.evaluation_id,
        forced=forced,
    )
    _tell(session, assistant, release, f"release.{state.value}")
    return release


def _go_live(
    session: Session, assistant: Assistant, release: Release, current: Live, *, action: str, forced: bool
) -> Release:
    """`release`, new or on trial, becomes the live one; it keeps its `replaces_id` if it has one."""
    policy = assistants.policies(assistant).release
    version = session.get_one(AdapterVersion, release.adapter_version_id)
    held = holdout(session, assistant)
    if held is not None:
        _change(session, held, ReleaseState.RETIRED, traffic_percent=0, ended_at=now())
    stays = version.base_model == current.version.base_model
    whole = current.version.tainted_at is None
    keeps_some = action == "release.promote" and policy.holdout_percent > 0 and whole and stays
    after: dict[str, Any] = {"state": ReleaseState.RETIRED, "ended_at": now(), "traffic_percent": 0}
    if keeps_some:
        after = {"state": ReleaseState.HOLDOUT, "traffic_percent": policy.holdout_percent, "stage_at": now()}
    retired = session.connection().execute(
        update(Release)
        .where(col(Release.id) == current.release.id, col(Release.state) == ReleaseState.LIVE)
        .values(**after)
    )
    if retired.rowcount != 1:
        raise _overtaken(assistant)
    session.add(release)
    session.flush()
    if not stays:
        moved = update(Assistant).where(col(Assistant.id) == assistant.id)
        session.connection().execute(moved.values(base_model=version.base_model))
    replaces_id = release.replaces_id if action == "release.roll_back" else current.release.id
    _change(
        session, release, ReleaseState.LIVE, traffic_percent=100, live_at=now(), replaces_id=replaces_id,
        actor=release.actor, reason=release.reason,
    )  # fmt: skip
    decline_proposals(session, assistant)
    audit.record(
        session,
        release.actor,
        action,
        f"{assistant.name}@{version.number}",
        replaced=f"{assistant.name}@{current.version.number}",
        reason=release.reason,
        evaluation=release.evaluation_id,
        forced=forced,
    )
    _tell(session, assistant, release, "release.live" if action == "release.promote" else "release.rolled_back")
    return release


def _tell(session: Session, assistant: Assistant, release: Release, event: str) -> None:
    version = session.get_one(AdapterVersion, release.adapter_version_id)
    hooks.tell(
        session,
        assistant,
        event,
        version=f"{assistant.name}@{version.number}",
        percent=release.traffic_percent,
        by=release.actor,
        reason=release.reason,
    )


def _change(session: Session, release: Release, state: ReleaseState, **values: Any) -> None:
    """Raises Conflict if somebody, or another service, was quicker."""
    session.flush()
    changed = session.connection().execute(
        update(Release)
        .where(
            col(Release.id) == release.id,
            col(Release.state) == release.state,
            col(Release.traffic_percent) == release.traffic_percent,
        )
        .values(state=state, stage_at=now(), **values)
    )
    if changed.rowcount != 1:
        raise Conflict("The release was moved on meanwhile: look again before you decide.")
    session.refresh(release)


def _overtaken(assistant: Assistant) -> Conflict:
    return Conflict(f"Another release of '{assistant.name}' went live meanwhile: look again before you decide.")
