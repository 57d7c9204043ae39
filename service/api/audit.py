"""Who did what, when: the signed log, for operators whose key sees all assistants, since entries don't say whose they
are."""

from datetime import datetime
from typing import Annotated, Any, Self

from litestar import get
from litestar.params import Parameter
from pydantic import BaseModel, Field

from feedback import audit
from feedback.database import Database
from feedback.models import AuditEntry
from service.api.lists import Page
from service.auth import may
from service.secret import Secret

MOST_CHECKED = 20_000
"""Entries, the newest: a second or two. `burnish audit --verify` checks all."""


class AuditRead(BaseModel):
    id: str
    created_at: datetime
    actor: str
    action: str
    subject: str
    details: dict[str, Any]
    signed: bool

    @classmethod
    def of(cls, entry: AuditEntry) -> Self:
        fields = {name: getattr(entry, name) for name in cls.model_fields if name not in ("id", "signed")}
        return cls(id=str(entry.id), signed=entry.signature is not None, **fields)


class FlawRead(BaseModel):
    entry: str
    what: str


class AuditCheck(BaseModel):
    entries: int = Field(description="How many were looked at, the newest.")
    flaws: list[FlawRead]


@get("/v1/audit", guards=[may("operate", everywhere=True)], sync_to_thread=True)
def list_audit(
    database: Database,
    action: Annotated[str | None, Parameter(max_length=60, description="How it begins, such as release.")] = None,
    subject: Annotated[str | None, Parameter(max_length=200, description="How it begins.")] = None,
    after: Annotated[int | None, Parameter(ge=1, lt=2**53)] = None,
    limit: Annotated[int, Parameter(ge=1, le=200)] = 50,
) -> Page[AuditRead]:
    """The newest first."""
    with database.read() as session:
        found = audit.list_entries(session, action=action, subject=subject, before=after, limit=limit + 1)
    return Page.of([AuditRead.of(entry) for entry in found[:limit]], has_more=len(found) > limit)


@get("/v1/audit/check", guards=[may("operate", everywhere=True)], sync_to_thread=True)
def check_audit(
    database: Database, secret: Secret, newest: Annotated[int, Parameter(ge=1, le=MOST_CHECKED)] = MOST_CHECKED
) -> AuditCheck:
    """Whether the newest entries are what was written, and none between them is gone."""
    with database.read() as session:
        entries, flaws = audit.verify(session, secret.value, newest=newest)
    return AuditCheck(entries=entries, flaws=[FlawRead(entry=str(flaw.entry), what=flaw.what) for flaw in flaws])
