"""Who is signed in to the pages: a session is begun with an API key, and lasts no longer than the key.

Its token lies in a cookie and is kept here only as a hash. Every sign-in makes a new one, so that a token that somebody
planted in a browser is never anybody's session. Leaves out cookies and forms (service/web).
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Field, Session, col, delete, select

from feedback import audit, keys
from feedback.columns import Table, moment, now, reference
from feedback.errors import Unauthenticated
from feedback.keys import Caller
from feedback.models import ApiKey

SESSION_DAYS = 7


class WebSession(Table, table=True):
    __tablename__ = "web_session"
    token_sha256: str = Field(primary_key=True, max_length=64)
    api_key_id: int = reference("api_key.id")
    created_at: datetime = moment()
    expires_at: datetime = moment(index=True)


@dataclass(frozen=True)
class SignedIn:
    token: str
    caller: Caller


def sign_in(session: Session, key: str, *, replaces: str | None = None) -> SignedIn:
    """A new session for the holder of `key`; the one that the browser had before ends. Raises Unauthenticated.

    A key that only gives feedback is for pages of others, where anybody can read it: it opens none of ours, or
    strangers could fill the audit log with sessions.
    """
    caller = keys.authenticate(session, key)
    if not (caller.may("chat") or caller.may("review")):
        raise Unauthenticated("This key only gives feedback: there is no page for it.")
    if replaces is not None:
        _end(session, replaces)
    session.connection().execute(delete(WebSession).where(col(WebSession.expires_at) <= now()))
    token = secrets.token_urlsafe(32)
    ends = now() + timedelta(days=SESSION_DAYS)
    session.add(WebSession(token_sha256=_hash(token), api_key_id=caller.api_key_id, expires_at=ends))
    audit.record(session, caller.actor, "session.begin", f"key {caller.api_key_id}")
    return SignedIn(token, caller)


def look_up(session: Session, token: str) -> Caller | None:
    """Whose session it is, as the key is now; None if it is over, or the key was revoked."""
    found = session.exec(
        select(ApiKey)
        .join(WebSession, col(WebSession.api_key_id) == col(ApiKey.id))
        .where(
            WebSession.token_sha256 == _hash(token),
            col(WebSession.expires_at) > now(),
            col(ApiKey.revoked_at).is_(None),
        )
    ).first()
    return keys.caller_of(session, found) if found is not None else None


def sign_out(session: Session, token: str) -> None:
    caller = look_up(session, token)
    _end(session, token)
    if caller is not None:
        audit.record(session, caller.actor, "session.end", f"key {caller.api_key_id}")


def _end(session: Session, token: str) -> None:
    session.connection().execute(delete(WebSession).where(col(WebSession.token_sha256) == _hash(token)))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
