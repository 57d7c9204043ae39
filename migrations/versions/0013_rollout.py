"""Releases on trial, the people who approve one, and what a version would have said."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
ONE_EACH = {"uq_release_one_on_trial": "state IN ('shadow', 'canary')", "uq_release_one_holdout": "state = 'holdout'"}


def upgrade() -> None:
    for column in ("tried_at", "stage_at"):
        op.add_column("release", sa.Column(column, MOMENT, nullable=True))
    op.add_column("release", sa.Column("carried_evidence", sa.Float(), server_default="0", nullable=False))
    op.add_column("message", sa.Column("release_id", BIG, nullable=True))
    op.create_index("ix_message_release", "message", ["release_id", "created_at"])
    for name, where in ONE_EACH.items():
        op.create_index(
            name, "release", ["assistant_id"], unique=True, sqlite_where=sa.text(where), postgresql_where=sa.text(where)
        )
    op.create_table(
        "approval",
        sa.Column("id", BIG, nullable=False),
        sa.Column("release_id", BIG, nullable=False),
        sa.Column("actor", sa.String(length=120), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["release_id"], ["release.id"], name=op.f("fk_approval_release_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approval")),
        sa.UniqueConstraint("release_id", "actor", name=op.f("uq_approval_release_id_actor")),
    )
    op.create_index("ix_approval_release_id", "approval", ["release_id"])
    op.create_table(
        "shadow_reply",
        sa.Column("id", BIG, nullable=False),
        sa.Column("release_id", BIG, nullable=False),
        sa.Column("message_id", BIG, nullable=False),
        sa.Column("failed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("completion_tokens", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["release_id"], ["release.id"], name=op.f("fk_shadow_reply_release_id")),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name=op.f("fk_shadow_reply_message_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shadow_reply")),
    )
    for column in ("release_id", "message_id"):
        op.create_index(f"ix_shadow_reply_{column}", "shadow_reply", [column])


def downgrade() -> None:
    op.execute("UPDATE release SET state = 'declined' WHERE state IN ('shadow', 'canary', 'vetoed')")
    op.execute("UPDATE release SET state = 'retired' WHERE state = 'holdout'")
    op.drop_table("shadow_reply")
    op.drop_table("approval")
    for name in ONE_EACH:
        op.drop_index(name, "release")
    op.drop_index("ix_message_release", "message")
    op.drop_column("message", "release_id")
    for column in ("tried_at", "stage_at", "carried_evidence"):
        op.drop_column("release", column)
