"""Which version a warm start went on from: what is erased from that one has to go from its successors, too."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("adapter_version") as batch_op:
        batch_op.add_column(sa.Column("began_from_id", BIG, nullable=True))
        batch_op.create_foreign_key(
            batch_op.f("fk_adapter_version_began_from_id"), "adapter_version", ["began_from_id"], ["id"]
        )


def downgrade() -> None:
    with op.batch_alter_table("adapter_version") as batch_op:
        batch_op.drop_constraint(batch_op.f("fk_adapter_version_began_from_id"), type_="foreignkey")
        batch_op.drop_column("began_from_id")
