"""Which version a warm start went on from: what is erased from that one has to go from its successors, too."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("adapter_version", sa.Column("began_from_id", BIG, nullable=True))


def downgrade() -> None:
    op.drop_column("adapter_version", "began_from_id")
