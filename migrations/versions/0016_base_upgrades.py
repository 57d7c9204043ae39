"""A run may move its assistant to another base model: each version names the base that it is an adapter of."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run", sa.Column("base_model", sa.String(), nullable=True))
    op.add_column("adapter_version", sa.Column("base_model", sa.String(), nullable=False, server_default=""))
    op.execute(
        "UPDATE adapter_version SET base_model = "
        "(SELECT base_model FROM assistant WHERE assistant.id = adapter_version.assistant_id)"
    )


def downgrade() -> None:
    op.drop_column("adapter_version", "base_model")
    op.drop_column("run", "base_model")
