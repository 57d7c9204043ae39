"""The audit log is signed: each entry over what it says and the signature before it."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

COLUMNS = ("previous", "signature")


def upgrade() -> None:
    for column in COLUMNS:
        op.add_column("audit_entry", sa.Column(column, sa.String(length=64), nullable=True))


def downgrade() -> None:
    for column in COLUMNS:
        op.drop_column("audit_entry", column)
