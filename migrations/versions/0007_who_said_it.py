"""Requests are known by keyed hashes alone: the plain ones, by which names could be guessed, go."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # an import's has names as keyed hashes only, and says what is here already
    op.execute("UPDATE feedback SET request_sha256 = '' WHERE imported_at IS NULL")


def downgrade() -> None:
    pass  # nobody has the plain hashes any more
