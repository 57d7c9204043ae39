"""Files that operators upload, and the fine-tuning jobs that learn from them."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
INDEXED = {
    "uploaded_file": ("api_key_id", "assistant_id"),
    "fine_tuning_job": ("api_key_id", "assistant_id", "training_file", "validation_file", "status"),
}


def upgrade() -> None:
    op.create_table(
        "uploaded_file",
        sa.Column("id", BIG, nullable=False),
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("api_key_id", BIG, nullable=False),
        sa.Column("assistant_id", BIG, nullable=True),
        sa.Column("purpose", sa.String(length=32), nullable=False),
        sa.Column("filename", sa.String(length=200), nullable=False),
        sa.Column("bytes", BIG, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("salt", sa.String(length=32), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_key.id"], name=op.f("fk_uploaded_file_api_key_id")),
        sa.ForeignKeyConstraint(["assistant_id"], ["assistant.id"], name=op.f("fk_uploaded_file_assistant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploaded_file")),
        sa.UniqueConstraint("public_id", name=op.f("uq_uploaded_file_public_id")),
    )
    op.create_table(
        "fine_tuning_job",
        sa.Column("id", BIG, nullable=False),
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("api_key_id", BIG, nullable=False),
        sa.Column("requested_by", sa.String(length=120), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("assistant_id", BIG, nullable=True),
        sa.Column("method", sa.String(length=16), nullable=False),
        sa.Column("hyperparameters", sa.JSON(), nullable=False),
        sa.Column("suffix", sa.String(length=64), nullable=True),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("client_metadata", sa.JSON(), nullable=False),
        sa.Column("training_file", sa.String(length=40), nullable=False),
        sa.Column("validation_file", sa.String(length=40), nullable=True),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("run_id", sa.String(length=40), nullable=True),
        sa.Column("result_file", sa.String(length=40), nullable=True),
        sa.Column("trained_tokens", BIG, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("validated_at", MOMENT, nullable=True),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_key.id"], name=op.f("fk_fine_tuning_job_api_key_id")),
        sa.ForeignKeyConstraint(["assistant_id"], ["assistant.id"], name=op.f("fk_fine_tuning_job_assistant_id")),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_fine_tuning_job_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fine_tuning_job")),
        sa.UniqueConstraint("public_id", name=op.f("uq_fine_tuning_job_public_id")),
        sa.UniqueConstraint("run_id", name=op.f("uq_fine_tuning_job_run_id")),
    )
    for table, columns in INDEXED.items():
        for column in columns:
            op.create_index(f"ix_{table}_{column}", table, [column])


def downgrade() -> None:
    op.drop_table("fine_tuning_job")
    op.drop_table("uploaded_file")
