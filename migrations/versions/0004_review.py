"""Guidelines say more, reviewers claim and edit, and all reports about a reply are one case."""

import secrets
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    # columns by themselves, not in a batch: SQLite needn't copy the tables for them
    for name in ("purpose", "tone", "disclaimer"):
        op.add_column("guidelines", sa.Column(name, sa.String(), nullable=False, server_default=""))
    op.add_column("guidelines", sa.Column("review_due", sa.Date(), nullable=True))
    op.add_column("feedback", _flag("wants_second_opinion"))
    op.add_column("feedback", sa.Column("claimed_by", sa.String(length=120), nullable=True))
    op.add_column("feedback", sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True))
    waiting = sa.text("status = 'in_review'")
    op.create_index(
        "ix_feedback_in_review", "feedback", ["assistant_id", "id"], sqlite_where=waiting, postgresql_where=waiting
    )
    _upgrade_reviews()
    _upgrade_cases()


def downgrade() -> None:
    _downgrade_cases()
    op.execute("UPDATE review SET decision = 'approved' WHERE decision = 'edited'")
    op.drop_index("uq_review_one_counts", table_name="review")
    for name in ("edited", "comment", "independent", "final", "counts"):
        op.drop_column("review", name)
    op.drop_index("ix_feedback_in_review", table_name="feedback")
    for name in ("wants_second_opinion", "claimed_by", "claimed_until"):
        op.drop_column("feedback", name)
    for name in ("purpose", "tone", "disclaimer", "review_due"):
        op.drop_column("guidelines", name)


def _upgrade_reviews() -> None:
    op.add_column("review", sa.Column("edited", sa.JSON(), nullable=True))
    op.add_column("review", sa.Column("comment", sa.String(), nullable=True))
    for name in ("independent", "final", "counts"):
        op.add_column("review", _flag(name))
    # the latest decision counted
    op.execute("UPDATE review SET counts = true WHERE id IN (SELECT MAX(id) FROM review GROUP BY feedback_id)")
    counts = sa.text("counts")
    op.create_index(
        "uq_review_one_counts", "review", ["feedback_id"], unique=True, sqlite_where=counts, postgresql_where=counts
    )
    # a key is now told from others of its name by its number
    op.execute(
        "UPDATE review SET actor = COALESCE((SELECT 'key:' || MIN(api_key.name) || '#' || MIN(api_key.id) FROM api_key "
        "WHERE 'key:' || api_key.name = review.actor GROUP BY api_key.name HAVING COUNT(*) = 1), actor)"
    )


def _upgrade_cases() -> None:
    """A case was about one report; now it is about a reply and all reports of it. There are few: read them all."""
    connection = op.get_bind()
    old = connection.execute(
        sa.text(
            "SELECT report_case.*, feedback.message_id, feedback.assistant_id, review.decision, review.actor "
            "FROM report_case JOIN feedback ON feedback.id = report_case.feedback_id "
            "LEFT JOIN review ON review.feedback_id = feedback.id AND review.counts ORDER BY report_case.id"
        ).columns(created_at=sa.DateTime(timezone=True), closed_at=sa.DateTime(timezone=True))
    )
    of_reply: dict[int, list[Any]] = {}
    for case in old:
        of_reply.setdefault(case.message_id, []).append(case)
    op.drop_table("report_case")
    table = op.create_table(
        "report_case",
        sa.Column("id", _ID, nullable=False),
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("assistant_id", _ID, nullable=False),
        sa.Column("message_id", _ID, nullable=False),
        sa.Column("category", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("outcome", sa.String(length=24), nullable=True),
        sa.Column("assignee", sa.String(length=120), nullable=True),
        sa.Column("answer", sa.String(), nullable=True),
        sa.Column("notes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["assistant_id"], ["assistant.id"], name=op.f("fk_report_case_assistant_id")),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name=op.f("fk_report_case_message_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report_case")),
        sa.UniqueConstraint("message_id", name=op.f("uq_report_case_message_id")),
        sa.UniqueConstraint("public_id", name=op.f("uq_report_case_public_id")),
    )
    op.create_index("ix_report_case_assistant_id", "report_case", ["assistant_id"])
    assert table is not None
    if of_reply:
        op.bulk_insert(table, [_merged(cases) for cases in of_reply.values()])


def _merged(cases: list[Any]) -> dict[str, Any]:
    """The old cases about one reply as one: open if any is; every note is kept."""
    first, closed = cases[0], [case for case in cases if case.status == "closed"]
    last = max(closed, key=lambda case: case.closed_at, default=None)
    resolved = len(closed) == len(cases)
    outcomes = {"approved": "upheld", "rejected": "dismissed"}
    return {
        "public_id": f"case-{secrets.token_hex(12)}",
        "assistant_id": first.assistant_id,
        "message_id": first.message_id,
        "category": first.category,
        "status": "resolved" if resolved else "open",
        "outcome": outcomes.get(last.decision) if last and resolved else None,
        "assignee": None,
        "answer": last.note if last else None,
        "notes": [
            {"at": _utc(case.closed_at).isoformat(), "by": case.actor or "", "text": case.note}
            for case in closed
            if case is not last and case.note
        ],
        "created_at": first.created_at,
        "resolved_at": last.closed_at if last and resolved else None,
    }


def _downgrade_cases() -> None:
    connection = op.get_bind()
    kept = connection.execute(
        sa.text(
            "SELECT report_case.*, (SELECT MIN(feedback.id) FROM feedback WHERE feedback.kind = 'report' "
            "AND feedback.message_id = report_case.message_id) AS feedback_id FROM report_case"
        ).columns(created_at=sa.DateTime(timezone=True), resolved_at=sa.DateTime(timezone=True))
    ).all()
    op.drop_table("report_case")
    table = op.create_table(
        "report_case",
        sa.Column("id", _ID, nullable=False),
        sa.Column("feedback_id", _ID, nullable=False),
        sa.Column("category", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("note", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["feedback_id"], ["feedback.id"], name=op.f("fk_report_case_feedback_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report_case")),
        sa.UniqueConstraint("feedback_id", name=op.f("uq_report_case_feedback_id")),
    )
    assert table is not None
    rows = [
        {
            "feedback_id": case.feedback_id,
            "category": case.category,
            "status": "closed" if case.status == "resolved" else "open",
            "note": case.answer,
            "created_at": case.created_at,
            "closed_at": case.resolved_at,
        }
        for case in kept
        if case.feedback_id is not None
    ]
    if rows:
        op.bulk_insert(table, rows)


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false())
