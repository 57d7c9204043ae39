"""Under which licence imported files came: what the operator said at the import, or when importing the file again."""

from sqlmodel import Session, col, select

from feedback.models import Assistant, AuditEntry

IMPORT = "feedback.import"
"""The audit log's word for it; its entries have the source and the licence."""


def licences(session: Session, assistant: Assistant) -> dict[str, str]:
    """By source (`import:FILE`), as the last import that named one said."""
    entries = session.exec(
        select(AuditEntry)
        .where(AuditEntry.action == IMPORT, AuditEntry.subject == assistant.name)
        .order_by(col(AuditEntry.id))
    )
    return {one.details["source"]: one.details["licence"] for one in entries if one.details.get("licence")}
