"""Who has to agree to a promotion by hand, and who has: one, several, or anybody but the one who asked for the run."""

from sqlmodel import Session, col, select

from feedback.errors import InvalidInput
from feedback.models import AdapterVersion, Assistant, Release, Run
from feedback.policies import ReleasePolicy
from feedback.trials import Approval

WORKER = "worker:"
"""What the name of a run's worker begins with in the audit log."""


def given(session: Session, release: Release) -> list[Approval]:
    chosen = select(Approval).where(Approval.release_id == release.id).order_by(col(Approval.id))
    return list(session.exec(chosen))


def give(
    session: Session, assistant: Assistant, release: Release, policy: ReleasePolicy, *, actor: str, reason: str
) -> int:
    """Note a person's yes; returns how many more it takes. What a worker promotes by policy needs none.

    Raises InvalidInput for who asked for the run, where duties are separate.
    """
    if actor.startswith(WORKER):
        return 0
    version = session.get_one(AdapterVersion, release.adapter_version_id)
    run = session.get(Run, version.run_id) if version.run_id else None
    if policy.separate_duties and run is not None and run.requested_by == actor:
        raise InvalidInput(
            f"{actor} asked for the run that made {assistant.name}@{version.number}: somebody else has to promote it "
            "(release.separate_duties).",
            code="separate_duties",
        )
    if policy.approvals == 1:
        return 0
    session.add(release)
    session.flush()
    agreed = {one.actor for one in given(session, release)}
    if actor not in agreed:
        session.add(Approval(release_id=release.id, actor=actor, reason=reason))
        session.flush()
    return max(0, policy.approvals - len(agreed | {actor}))
