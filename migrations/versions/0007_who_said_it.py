"""Requests are known by keyed hashes alone; a client's conversation id counts for each person apart.

The plain hashes of requests, by which names could be guessed, go.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

OLD = "uq_conversation_assistant_id_api_key_id_external_id"
NEW = "uq_conversation_external_id"
COLUMNS = ("assistant_id", "api_key_id", "external_id")
INDEXED = ("assistant_id", "api_key_id", "contributor_id")
COPY = (
    "INSERT INTO conversation (id, assistant_id, api_key_id, external_id, contributor_id, ui_task, created_at) "
    "SELECT id, assistant_id, api_key_id, external_id, contributor_id, ui_task, created_at FROM conversation_before"
)


def upgrade() -> None:
    # an import's has names as keyed hashes only, and tells what is here already
    op.execute("UPDATE feedback SET request_sha256 = '' WHERE imported_at IS NULL")
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint(OLD, "conversation")
    else:
        _rebuild()
    op.create_index(NEW, "conversation", [*COLUMNS, sa.text("coalesce(contributor_id, '')")], unique=True)


def downgrade() -> None:
    op.drop_index(NEW, "conversation")
    op.execute(  # one of those that share an id can keep it: the first
        "UPDATE conversation SET external_id = NULL WHERE external_id IS NOT NULL AND id NOT IN (SELECT MIN(id) "
        "FROM conversation WHERE external_id IS NOT NULL GROUP BY assistant_id, api_key_id, external_id)"
    )
    if op.get_bind().dialect.name == "postgresql":
        op.create_unique_constraint(OLD, "conversation", list(COLUMNS))
    else:
        _rebuild(sa.UniqueConstraint(*COLUMNS, name=OLD))


def _rebuild(*unique: sa.UniqueConstraint) -> None:
    """SQLite can't alter a table's constraints. Its messages are without a conversation until the rows are back, which
    a transaction's end is early enough for."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.execute("PRAGMA defer_foreign_keys=ON")
    op.execute("CREATE TABLE conversation_before AS SELECT * FROM conversation")
    op.drop_table("conversation")
    op.create_table(
        "conversation",
        sa.Column("id", big, nullable=False),
        sa.Column("assistant_id", big, nullable=False),
        sa.Column("api_key_id", big, nullable=False),
        sa.Column("external_id", sa.String(length=200), nullable=True),
        sa.Column("contributor_id", sa.String(length=32), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ui_task", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_key.id"], name=op.f("fk_conversation_api_key_id")),
        sa.ForeignKeyConstraint(["assistant_id"], ["assistant.id"], name=op.f("fk_conversation_assistant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversation")),
        *unique,
    )
    op.execute(COPY)
    op.drop_table("conversation_before")
    for column in INDEXED:
        op.create_index(f"ix_conversation_{column}", "conversation", [column])
