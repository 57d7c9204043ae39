"""Who did what, when: one row in the same transaction as the deed, signed. Never message text.

Each entry is signed with the deployment's secret over what it says and the signature before it, so that one that is
changed, made up or taken out of the middle is found (`burnish audit --verify`). Leaves out the last entries: nothing
tells that they are gone; copy the log elsewhere for that.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, select

from feedback.columns import now
from feedback.models import AuditEntry

KEY = "audit_key"
"""In a session's info: what gives the secret. Without it entries aren't signed."""
_LAST = "audit_last"
AT_ONCE = 1_000


@dataclass(frozen=True)
class Flaw:
    """An entry that isn't what was written."""

    entry: int
    what: str


def record(session: Session, actor: str, action: str, subject: str, **details: Any) -> None:
    entry = AuditEntry(actor=actor, action=action, subject=subject, details=details, created_at=now())
    read_key: Callable[[], bytes] | None = session.info.get(KEY)
    if read_key is not None:
        entry.previous = session.info.get(_LAST) or _newest_signature(session)
        entry.signature = session.info[_LAST] = sign(entry, read_key())
    session.add(entry)


def sign(entry: AuditEntry, key: bytes) -> str:
    said = [entry.previous, entry.created_at.isoformat(), entry.actor, entry.action, entry.subject, entry.details]
    return hmac.new(key, json.dumps(said, sort_keys=True).encode(), hashlib.sha256).hexdigest()


def list_entries(
    session: Session,
    *,
    action: str | None = None,
    subject: str | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[AuditEntry]:
    """The newest first; `action` and `subject` are beginnings."""
    chosen = select(AuditEntry).order_by(col(AuditEntry.id).desc()).limit(limit)
    if action is not None:
        chosen = chosen.where(col(AuditEntry.action).startswith(action, autoescape=True))
    if subject is not None:
        chosen = chosen.where(col(AuditEntry.subject).startswith(subject, autoescape=True))
    if before is not None:
        chosen = chosen.where(col(AuditEntry.id) < before)
    return list(session.exec(chosen))


def verify(session: Session, key: bytes, *, newest: int | None = None) -> tuple[int, list[Flaw]]:
    """How many entries were looked at, and what is wrong with them. Two may follow one: two deeds at the same moment.

    `newest`: of so many alone, which may follow any of the AT_ONCE before them; a million take a minute or more.
    """
    first, known = (0, set()) if newest is None else _window(session, newest)
    flaws, count, begun = [], 0, bool(known)
    for entry in _oldest_first(session, first - 1):
        count += 1
        if entry.signature is None:
            if begun:
                flaws.append(Flaw(entry.id, "isn't signed, though earlier ones are"))
            continue
        begun = True
        if not hmac.compare_digest(entry.signature, sign(entry, key)):
            flaws.append(Flaw(entry.id, "isn't what was signed, or was signed with another secret"))
        elif entry.previous is not None and entry.previous not in known:
            flaws.append(Flaw(entry.id, "follows an entry that is gone or was changed"))
        known.add(entry.signature)
    return count, flaws


def _window(session: Session, newest: int) -> tuple[int, set[str]]:
    """The first of the `newest` entries, and the signatures of some before it."""
    ids = select(AuditEntry.id).order_by(col(AuditEntry.id).desc())
    first = session.exec(ids.offset(newest - 1).limit(1)).first()
    if first is None:
        return 0, set()
    before = select(AuditEntry.signature).where(col(AuditEntry.id) < first)
    signatures = session.exec(before.order_by(col(AuditEntry.id).desc()).limit(AT_ONCE))
    return first, {signature for signature in signatures if signature is not None}


def _oldest_first(session: Session, last: int) -> Iterator[AuditEntry]:
    """Those after `last`."""
    while some := list(
        session.exec(select(AuditEntry).where(col(AuditEntry.id) > last).order_by(col(AuditEntry.id)).limit(AT_ONCE))
    ):
        yield from some
        last = some[-1].id


def _newest_signature(session: Session) -> str | None:
    with session.no_autoflush:
        newest = select(AuditEntry.signature).order_by(col(AuditEntry.id).desc()).limit(1)
        return session.exec(newest).first()
