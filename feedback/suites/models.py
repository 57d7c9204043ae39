"""The suites that operators gave their assistants. Leaves out what is in one (kinds.py)."""

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from feedback.columns import Table, moment, primary_key, reference


class Suite(Table, table=True):
    """Questions that every candidate of an assistant is asked, beside Burnish's own (feedback.suites)."""

    __tablename__ = "suite"
    __table_args__ = (UniqueConstraint("assistant_id", "kind", "name"),)
    id: int = primary_key()
    assistant_id: int = reference("assistant.id")
    kind: str = Field(max_length=32)  # suites.kinds.SuiteKind
    name: str = Field(max_length=64)
    items: int
    sha256: str = Field(max_length=64)  # of `content`
    content: str  # JSONL, an item a line
    licence: str | None = Field(default=None, max_length=100)
    actor: str = Field(max_length=120)
    created_at: datetime = moment()
