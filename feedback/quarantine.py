"""Everything of one contributor is held back, by an operator's word and until it is lifted: no dataset learns from it,
it vouches for nobody, and it counts neither for what is due nor for or against a version that is on trial.

Leaves out what was learned before: versions stay as they are. Erasing a person takes them back (feedback.erasure).
"""

from sqlmodel import Session

from feedback import audit
from feedback.columns import is_storable, now
from feedback.erasure.subjects import subject_sha256
from feedback.errors import InvalidInput, NotFound
from feedback.models import Assistant, Contributor
from feedback.states import ErasureKind

MAX_REASON = 500
"""Characters."""


def find(session: Session, assistant: Assistant, contributor_id: str, *, lock: bool = False) -> Contributor:
    known = session.get(Contributor, contributor_id, with_for_update={"key_share": True} if lock else None)
    if known is None or known.assistant_id != assistant.id:
        raise NotFound(
            f"'{assistant.name}' knows no contributor '{contributor_id[:40]}': "
            f"`burnish contributor list {assistant.name}` shows them.",
            param="id",
        )
    return known


def quarantine(session: Session, assistant: Assistant, contributor_id: str, reason: str, *, actor: str) -> Contributor:
    """From the next dataset on. Of somebody who is held back already the reason is changed."""
    reason = reason.strip()
    if not reason or len(reason) > MAX_REASON or not is_storable(reason):
        raise InvalidInput(f"Say why, in {MAX_REASON} characters at most.", param="reason")
    contributor = find(session, assistant, contributor_id, lock=True)
    if contributor.quarantine_reason != reason:
        contributor.quarantined_at, contributor.quarantine_reason = contributor.quarantined_at or now(), reason
        session.add(contributor)
        audit.record(
            session, actor, "contributor.quarantine", _label(contributor), assistant=assistant.name, reason=reason
        )
        session.flush()
    return contributor


def release(session: Session, assistant: Assistant, contributor_id: str, *, actor: str) -> Contributor:
    """The next dataset looks at what they said as at anybody's. Does nothing for who isn't held back."""
    contributor = find(session, assistant, contributor_id, lock=True)
    if contributor.quarantined_at is not None:
        contributor.quarantined_at = contributor.quarantine_reason = None
        session.add(contributor)
        audit.record(session, actor, "contributor.release", _label(contributor), assistant=assistant.name)
        session.flush()
    return contributor


def _label(contributor: Contributor) -> str:
    """As erasures name people: the audit log outlives them, and must tell nobody who they were."""
    return f"contributor {subject_sha256(ErasureKind.CONTRIBUTOR, contributor.id)}"
