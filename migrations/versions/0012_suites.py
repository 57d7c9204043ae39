"""Suites that operators add: what every candidate of an assistant is asked beside Burnish's own."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "suite",
        sa.Column("id", BIG, nullable=False),
        sa.Column("assistant_id", BIG, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("items", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("content", sa.String(), nullable=False),
        sa.Column("licence", sa.String(length=100), nullable=True),
        sa.Column("actor", sa.String(length=120), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["assistant_id"], ["assistant.id"], name=op.f("fk_suite_assistant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suite")),
        sa.UniqueConstraint("assistant_id", "kind", "name", name=op.f("uq_suite_assistant_id_kind_name")),
    )
    op.create_index("ix_suite_assistant_id", "suite", ["assistant_id"])


def downgrade() -> None:
    op.drop_table("suite")
