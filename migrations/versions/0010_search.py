"""A run may search for hyperparameters though its assistant doesn't, or the reverse."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run", sa.Column("search_trials", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("run", "search_trials")
