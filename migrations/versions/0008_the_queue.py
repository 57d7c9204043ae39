"""Runs have a priority and can be retried, schedules know since when they hold, and workers say that they are there."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("priority", "attempts_before"):
        op.add_column("run", sa.Column(name, sa.Integer(), server_default="0", nullable=False))
    op.add_column("assistant", sa.Column("scheduled_since", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "worker",
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_worker")),
    )
    op.create_index(op.f("ix_worker_seen_at"), "worker", ["seen_at"])


def downgrade() -> None:
    op.drop_table("worker")
    op.drop_column("assistant", "scheduled_since")
    for name in ("attempts_before", "priority"):
        op.drop_column("run", name)
