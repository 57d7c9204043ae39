"""A conversation says whether it is only a task of a chat client's own, such as finding a title."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # by itself, not in a batch: SQLite needn't copy the table for it
    op.add_column("conversation", sa.Column("ui_task", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    op.drop_column("conversation", "ui_task")
