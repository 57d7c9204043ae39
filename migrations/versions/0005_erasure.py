"""Rows have salted hashes; what is erased is marked, and versions that learned from it are tainted."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SALT = {
    "sqlite": "UPDATE feedback SET salt = lower(hex(randomblob(16)))",
    "postgresql": "UPDATE feedback SET salt = replace(gen_random_uuid()::text, '-', '')",
}


def upgrade() -> None:
    # by themselves, not in a batch: SQLite needn't copy the tables for them
    op.add_column("feedback", sa.Column("salt", sa.String(length=32), nullable=False, server_default=""))
    op.execute(SALT[op.get_bind().dialect.name])
    if op.get_bind().dialect.name == "postgresql":  # SQLite would have to copy the table
        op.alter_column("feedback", "salt", server_default=None)
    op.add_column("example", sa.Column("sha256", sa.String(length=64), nullable=True))
    op.add_column(
        "example", sa.Column("erasure_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True)
    )
    op.create_index("ix_example_erasure_id", "example", ["erasure_id"])
    op.create_index("ix_conversation_contributor_id", "conversation", ["contributor_id"])
    op.add_column("dataset_version", sa.Column("rows_erased", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("dataset_version", sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("adapter_version", sa.Column("tainted_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("adapter_version", sa.Column("tainted_reason", sa.String(), nullable=True))
    op.create_table(
        "erasure",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("assistant_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("subject_sha256", sa.String(length=64), nullable=False),
        sa.Column("actor", sa.String(length=120), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("files_gone_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["assistant_id"], ["assistant.id"], name=op.f("fk_erasure_assistant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasure")),
        sa.UniqueConstraint("public_id", name=op.f("uq_erasure_public_id")),
    )
    for column in ("assistant_id", "state", "subject_sha256"):
        op.create_index(f"ix_erasure_{column}", "erasure", [column])


def downgrade() -> None:
    op.drop_table("erasure")
    op.drop_column("adapter_version", "tainted_reason")
    op.drop_column("adapter_version", "tainted_at")
    op.drop_column("dataset_version", "erased_at")
    op.drop_column("dataset_version", "rows_erased")
    op.drop_index("ix_conversation_contributor_id", "conversation")
    op.drop_index("ix_example_erasure_id", "example")
    op.drop_column("example", "erasure_id")
    op.drop_column("example", "sha256")
    op.drop_column("feedback", "salt")
