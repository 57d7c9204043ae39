"""New corrections and choices are found by an index: they are counted whenever feedback comes in."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    came_in = sa.text("coalesce(imported_at, created_at)")
    op.create_index("ix_feedback_came_in", "feedback", ["assistant_id", "kind", came_in])


def downgrade() -> None:
    op.drop_index("ix_feedback_came_in", "feedback")
