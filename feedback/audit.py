"""Who did what, when: one row in the same transaction as the deed. Never message text."""

from typing import Any

from sqlmodel import Session

from feedback.models import AuditEntry


def record(session: Session, actor: str, action: str, subject: str, **details: Any) -> None:
    session.add(AuditEntry(actor=actor, action=action, subject=subject, details=details))
