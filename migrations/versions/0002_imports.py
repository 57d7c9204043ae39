"""Feedback remembers the file that it was imported from, and when."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # by themselves, not in a batch: SQLite needn't copy the table for them
    op.add_column("feedback", sa.Column("source", sa.String(length=200), nullable=True))
    op.add_column("feedback", sa.Column("imported_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("feedback", "imported_at")
    op.drop_column("feedback", "source")
