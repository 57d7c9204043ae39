"""Pages: who is signed in to them, the names that people give their conversations, and contributors held back."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_index("ix_message_version", "message", ["adapter_version_id", "created_at"])  # replies by day
    op.drop_index("ix_message_adapter_version_id", "message")
    op.add_column("conversation", sa.Column("title", sa.String(length=200), nullable=True))
    op.create_index("ix_conversation_own", "conversation", ["api_key_id", "contributor_id", "id"])
    op.drop_index("ix_conversation_api_key_id", "conversation")  # the one above begins with it
    op.create_table(
        "web_session",
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("api_key_id", BIG, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_key.id"], name=op.f("fk_web_session_api_key_id")),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_web_session")),
    )
    op.create_index("ix_web_session_api_key_id", "web_session", ["api_key_id"])
    op.create_index("ix_web_session_expires_at", "web_session", ["expires_at"])
    op.create_index("ix_feedback_cell", "feedback", ["assistant_id", "kind", "status", "id"])
    claimed = sa.text("claimed_by IS NOT NULL")
    op.create_index(
        "ix_feedback_claimed",
        "feedback",
        ["assistant_id", "claimed_by"],
        sqlite_where=claimed,
        postgresql_where=claimed,
    )
    op.create_index("ix_report_case_status", "report_case", ["assistant_id", "status", "id"])
    op.add_column("contributor", sa.Column("quarantined_at", MOMENT, nullable=True))
    op.add_column("contributor", sa.Column("quarantine_reason", sa.String(length=500), nullable=True))
    op.create_index("ix_contributor_newest", "contributor", ["assistant_id", "created_at", "id"])
    op.drop_index("ix_contributor_assistant_id", "contributor")  # the one above begins with it
    held_back = sa.text("quarantined_at IS NOT NULL")
    op.create_index(
        "ix_contributor_held_back",
        "contributor",
        ["assistant_id", "created_at", "id"],
        sqlite_where=held_back,
        postgresql_where=held_back,
    )


def downgrade() -> None:
    op.drop_index("ix_report_case_status", table_name="report_case")
    op.drop_index("ix_feedback_claimed", table_name="feedback")
    op.drop_index("ix_feedback_cell", table_name="feedback")
    op.drop_index("ix_contributor_held_back", "contributor")
    op.create_index("ix_contributor_assistant_id", "contributor", ["assistant_id"])
    op.drop_index("ix_contributor_newest", "contributor")
    op.drop_column("contributor", "quarantine_reason")
    op.drop_column("contributor", "quarantined_at")
    op.drop_table("web_session")
    op.create_index("ix_message_adapter_version_id", "message", ["adapter_version_id"])
    op.drop_index("ix_message_version", "message")
    op.create_index("ix_conversation_api_key_id", "conversation", ["api_key_id"])
    op.drop_index("ix_conversation_own", "conversation")
    op.drop_column("conversation", "title")
