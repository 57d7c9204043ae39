"""API keys: made once, shown once, kept as a hash; roles and the assistants a key may see.

A key has 256 random bits, so a plain SHA-256 is hash enough; nothing can be guessed from it.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from feedback import audit
from feedback.assistants import assistant_missing, get_assistant
from feedback.columns import now
from feedback.errors import Forbidden, InvalidInput, NotFound, Unauthenticated
from feedback.models import ApiKey, ApiKeyAssistant, Assistant
from feedback.states import Role

_MAY: dict[Role, frozenset[str]] = {
    Role.CHAT: frozenset({"chat", "feedback"}),
    Role.FEEDBACK: frozenset({"feedback"}),
    Role.REVIEWER: frozenset({"feedback", "review"}),
    Role.OPERATOR: frozenset({"chat", "feedback", "review", "operate"}),
    Role.ADMIN: frozenset({"chat", "feedback", "review", "operate", "administer"}),
}
_OF_IMPORTS, _OF_PAGES = "imports", "pages"
"""Hashes of keys that have no text: nothing hashes to these, so that they open nothing."""


@dataclass(frozen=True)
class Caller:
    """Who is asking, as far as a request is concerned."""

    api_key_id: int
    name: str
    role: Role
    assistant_ids: frozenset[int] | None  # None: all

    @property
    def actor(self) -> str:
        """Who it was, for good: several keys may have one name."""
        return f"key:{self.name}#{self.api_key_id}"

    @property
    def vouches(self) -> bool:
        """Whether the names that it gives are believed: who holds a key out of a page can invent any number."""
        return self.role != Role.FEEDBACK

    def may(self, deed: str) -> bool:
        return deed in _MAY[self.role]

    def require(self, deed: str) -> None:
        if not self.may(deed):
            able = ", ".join(role for role, deeds in _MAY.items() if deed in deeds)
            raise Forbidden(f"This key's role is '{self.role}', which may not {deed}: use a key with role {able}.")

    def sees(self, assistant: Assistant) -> bool:
        return self.assistant_ids is None or assistant.id in self.assistant_ids

    def require_everything(self) -> None:
        """For what concerns the whole deployment."""
        if self.assistant_ids is not None:
            raise Forbidden("This key is limited to some assistants, and this is about all of them: use another key.")


def create(
    session: Session, name: str, role: Role, assistants: Sequence[str] = (), *, actor: str, by: Caller | None = None
) -> tuple[ApiKey, str]:
    """Returns the stored key and its text, which can't be read again.

    `by`: who asks for it, whose own limits it can't go beyond; None: whoever sits at the machine. Raises Forbidden.
    """
    if not name.strip():
        raise InvalidInput("A key needs a name: say who or what it is for.", param="name")
    limits = [_seen_by(session, by, assistant) for assistant in dict.fromkeys(assistants)]
    if by is not None and by.assistant_ids is not None and not limits:
        raise Forbidden("This key is limited to some assistants: name those that the new one may see.")
    token = f"sk-burnish-{secrets.token_urlsafe(32)}"
    key = ApiKey(name=name.strip()[:100], role=role, hash=_hash(token), prefix=token[:15])
    session.add(key)
    session.flush()
    for assistant in limits:
        session.add(ApiKeyAssistant(api_key_id=key.id, assistant_id=assistant.id))
    audit.record(session, actor, "key.create", f"key {key.id}", role=role, assistants=[one.name for one in limits])
    return key, token


def key_of_imports(session: Session) -> ApiKey:
    """The key that imported feedback goes by."""
    return find_key_of_imports(session) or _without_text(session, _OF_IMPORTS, Role.FEEDBACK)


def find_key_of_imports(session: Session) -> ApiKey | None:
    return session.exec(select(ApiKey).where(ApiKey.hash == _OF_IMPORTS)).first()


def key_of_pages(session: Session) -> ApiKey:
    """The key that people chat by who needn't sign in to the pages."""
    known = session.exec(select(ApiKey).where(ApiKey.hash == _OF_PAGES)).first()
    return known or _without_text(session, _OF_PAGES, Role.CHAT)


def _without_text(session: Session, called: str, role: Role) -> ApiKey:
    key = ApiKey(name=called, role=role, hash=called, prefix="", revoked_at=now())
    session.add(key)
    session.flush()
    return key


def authenticate(session: Session, token: str) -> Caller:
    key = session.exec(select(ApiKey).where(ApiKey.hash == _hash(token))).first()
    if key is None or key.revoked_at is not None:
        raise Unauthenticated("Unknown or revoked API key: make one with `burnish key create NAME`.")
    return caller_of(session, key)


def caller_of(session: Session, key: ApiKey) -> Caller:
    limits = session.exec(select(ApiKeyAssistant.assistant_id).where(ApiKeyAssistant.api_key_id == key.id)).all()
    return Caller(key.id, key.name, key.role, frozenset(limits) or None)


def revoke(session: Session, key_id: int, *, actor: str, by: Caller | None = None) -> ApiKey:
    """From now on it opens nothing, and who is signed in with it isn't any more. `by` as in `create`."""
    key = get_key(session, key_id, by=by)
    if key.revoked_at is None:
        key.revoked_at = now()
        audit.record(session, actor, "key.revoke", f"key {key.id}")
    return key


def get_key(session: Session, key_id: int, *, by: Caller | None = None) -> ApiKey:
    key = session.exec(_within(by).where(ApiKey.id == min(key_id, 2**31 - 1))).first()
    if key is None:
        raise NotFound(f"No key {key_id}: `burnish key list` shows them.")
    return key


def list_keys(session: Session) -> list[ApiKey]:
    return list(session.exec(select(ApiKey).order_by(col(ApiKey.id))))


def newest_keys(session: Session, by: Caller, *, before: int | None = None, limit: int = 50) -> list[ApiKey]:
    """Those that `by` may see and that have a text, the newest first."""
    chosen = _within(by).where(ApiKey.prefix != "")
    if before is not None:
        chosen = chosen.where(col(ApiKey.id) < before)
    return list(session.exec(chosen.order_by(col(ApiKey.id).desc()).limit(limit)))


def limits_of(session: Session, keys: Sequence[ApiKey]) -> dict[int, list[str]]:
    """By key: the names of the assistants that it is limited to; none: it sees all."""
    found: dict[int, list[str]] = {key.id: [] for key in keys}
    chosen = (
        select(ApiKeyAssistant.api_key_id, Assistant.name)
        .join(Assistant, col(Assistant.id) == col(ApiKeyAssistant.assistant_id))
        .where(col(ApiKeyAssistant.api_key_id).in_(found))
        .order_by(col(Assistant.name))
    )
    for key_id, name in session.exec(chosen):
        found[key_id].append(name)
    return found


def _within(by: Caller | None) -> SelectOfScalar[ApiKey]:
    """The keys that `by` has a say over: all, or those that see nothing that it doesn't see itself."""
    if by is None or by.assistant_ids is None:
        return select(ApiKey)
    limits = select(ApiKeyAssistant.api_key_id).where(ApiKeyAssistant.api_key_id == ApiKey.id)
    beyond = limits.where(col(ApiKeyAssistant.assistant_id).not_in(by.assistant_ids))
    return select(ApiKey).where(limits.exists(), ~beyond.exists())


def _seen_by(session: Session, by: Caller | None, name: str) -> Assistant:
    assistant = get_assistant(session, name)
    if by is not None and not by.sees(assistant):
        raise assistant_missing(name)
    return assistant


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
