"""Which adapter version serves an assistant: propose, promote, roll back. Going live only moves a pointer.

Every move is a compare-and-set on the release that was live when it was decided: of two movers at once, one gets
Conflict. A version is tainted when something that it learned from, or was judged by, was erased: it goes live no
more, unless an operator rolls back to it and says so. All transitions of a release's state are here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import update
from sqlmodel import Session, col, select

from feedback import audit
from feedback.columns import now
from feedback.errors import Conflict, InvalidInput
from feedback.models import AdapterVersion, Assistant, Evaluation, Release
from feedback.states import ReleaseState, VerdictWord


@dataclass(frozen=True)
class Live:
    release: Release
    version: AdapterVersion


def live(session: Session, assistant: Assistant) -> Live:
    release, version = session.exec(
        select(Release, AdapterVersion)
        .join(AdapterVersion, col(AdapterVersion.id) == col(Release.adapter_version_id))
        .where(Release.assistant_id == assistant.id, Release.state == ReleaseState.LIVE)
    ).one()
    return Live(release, version)


def propose(session: Session, assistant: Assistant, evaluation: Evaluation, *, actor: str) -> Release:
    """Put a candidate that was judged PROMOTE forward for an operator's word; older proposals lapse."""
    _refuse_tainted(session, assistant, evaluation.candidate_id)
    decline_proposals(session, assistant)
    release = Release(
        assistant_id=assistant.id,
        adapter_version_id=evaluation.candidate_id,
        state=ReleaseState.PROPOSED,
        evaluation_id=evaluation.id,
        actor=actor,
        reason="Judged better than what serves.",
    )
    session.add(release)
    session.flush()
    audit.record(session, actor, "release.propose", f"{assistant.name}", version_id=evaluation.candidate_id)
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
) -> Release:
    """Make `version` the one that serves.

    Raises InvalidInput when it serves already, is tainted, or when no evaluation found it better than what serves now
    and it never served before (`force` overrides that alone, and is audited); Conflict when another release went live
    meanwhile.
    """
    if version.assistant_id != assistant.id:
        raise InvalidInput(f"Version {version.sha256[:12]} isn't one of '{assistant.name}'.")
    current = live(session, assistant)
    if expected_release_id not in (None, current.release.id):
        raise _overtaken(assistant)
    if current.version.id == version.id:
        raise InvalidInput(f"{assistant.name}@{version.number} serves already.")
    _refuse_tainted(session, assistant, version.id)
    evaluation = _newest_evaluation(session, version)
    if not force and not _may_serve(session, version, evaluation, current.version):
        found = str(evaluation.verdict) if evaluation else "never evaluated"
        if evaluation is not None and evaluation.baseline_id != current.version.id:
            found += f" against @{session.get_one(AdapterVersion, evaluation.baseline_id).number}"
        label = f"{assistant.name}@{version.number}"
        raise InvalidInput(
            f"{label} was not found better than @{current.version.number}, which serves ({found}): read why "
            f'(`burnish adapters show {label}`), then promote it with `--force` (over HTTP `"force": true`) '
            "if you mean it.",
            code="verdict_not_promote",
        )
    return _go_live(
        session,
        assistant,
        version,
        current,
        replaces_id=current.release.id,
        evaluation=evaluation,
        actor=actor,
        reason=reason,
        action="release.promote",
        forced=force,
    )


def roll_back(
    session: Session,
    assistant: Assistant,
    *,
    actor: str,
    reason: str,
    expected_live: int | None = None,
    accept_tainted: bool = False,
) -> Release:
    """Let the version serve again that the live release replaced. Repeated, it walks further back.

    `expected_live`: number of the version to take back; Conflict if another one serves, so that asking twice is
    harmless. `accept_tainted`: even if the version learned from what was erased since.
    """
    current = live(session, assistant)
    if expected_live is not None and current.version.number != expected_live:
        raise Conflict(f"{assistant.name}@{expected_live} doesn't serve (any more): @{current.version.number} does.")
    if current.release.replaces_id is None:
        raise InvalidInput(f"Nothing served '{assistant.name}' before {assistant.name}@{current.version.number}.")
    earlier = session.get_one(Release, current.release.replaces_id)
    version = session.get_one(AdapterVersion, earlier.adapter_version_id)
    if not accept_tainted:
        remedy = 'or roll back with `--accept-tainted` (over HTTP `"accept_tainted": true`)'
        _refuse_tainted(session, assistant, version.id, remedy)
    return _go_live(
        session,
        assistant,
        version,
        current,
        replaces_id=earlier.replaces_id,
        evaluation=None,
        actor=actor,
        reason=reason,
        action="release.roll_back",
        forced=accept_tainted,
    )


def decline_proposals(session: Session, assistant: Assistant, of: Sequence[int] | None = None) -> None:
    """Turn down what waits for an operator's word: all of it, or these versions."""
    lapsed = update(Release).where(
        col(Release.assistant_id) == assistant.id, col(Release.state) == ReleaseState.PROPOSED
    )
    if of is not None:
        lapsed = lapsed.where(col(Release.adapter_version_id).in_(of))
    session.connection().execute(lapsed.values(state=ReleaseState.DECLINED, ended_at=now()))


def list_releases(session: Session, assistant: Assistant, limit: int = 20) -> list[Release]:
    return list(
        session.exec(
            select(Release).where(Release.assistant_id == assistant.id).order_by(col(Release.id).desc()).limit(limit)
        )
    )


def _go_live(
    session: Session,
    assistant: Assistant,
    version: AdapterVersion,
    current: Live,
    *,
    replaces_id: int | None,
    evaluation: Evaluation | None,
    actor: str,
    reason: str,
    action: str,
    forced: bool,
) -> Release:
    retired = session.connection().execute(
        update(Release)
        .where(col(Release.id) == current.release.id, col(Release.state) == ReleaseState.LIVE)
        .values(state=ReleaseState.RETIRED, ended_at=now())
    )
    if retired.rowcount != 1:
        raise _overtaken(assistant)
    decline_proposals(session, assistant)
    release = Release(
        assistant_id=assistant.id,
        adapter_version_id=version.id,
        state=ReleaseState.LIVE,
        replaces_id=replaces_id,
        evaluation_id=evaluation.id if evaluation else None,
        actor=actor,
        reason=reason,
        live_at=now(),
    )
    session.add(release)
    session.flush()
    audit.record(
        session,
        actor,
        action,
        f"{assistant.name}@{version.number}",
        replaced=f"{assistant.name}@{current.version.number}",
        reason=reason,
        forced=forced,
    )
    return release


def _refuse_tainted(session: Session, assistant: Assistant, version_id: int, otherwise: str = "") -> None:
    """Locks the version until the transaction ends: an erasure taints it before that, and is seen, or after."""
    version = session.get_one(AdapterVersion, version_id, populate_existing=True, with_for_update={"read": True})
    if version.tainted_at is None:
        return
    name = assistant.name
    remedies = [f"take a version from after that (`burnish train {name}` makes one), or {name}@0, the bare base"]
    raise InvalidInput(
        f"{name}@{version.number} is tainted and can't go live: {version.tainted_reason} "
        f"Instead {'; '.join([*remedies, *([otherwise] if otherwise else [])])}.",
        code="version_tainted",
    )


def _overtaken(assistant: Assistant) -> Conflict:
    return Conflict(f"Another release of '{assistant.name}' went live meanwhile: look again before you decide.")


def _may_serve(
    session: Session, version: AdapterVersion, evaluation: Evaluation | None, serving: AdapterVersion
) -> bool:
    better = (
        evaluation is not None and evaluation.verdict == VerdictWord.PROMOTE and evaluation.baseline_id == serving.id
    )
    if better or version.number == 0:
        return True
    served = select(Release.id).where(
        Release.adapter_version_id == version.id, col(Release.state).in_((ReleaseState.LIVE, ReleaseState.RETIRED))
    )
    return session.exec(served.limit(1)).first() is not None


def _newest_evaluation(session: Session, version: AdapterVersion) -> Evaluation | None:
    return session.exec(
        select(Evaluation).where(Evaluation.candidate_id == version.id).order_by(col(Evaluation.id).desc()).limit(1)
    ).first()
