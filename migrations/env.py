"""Alembic's entry: runs the versions on the connection that `migrations.upgrade` hands over."""

from alembic import context

import feedback.fine_tuning.models
import feedback.models  # noqa: F401  both fill the metadata
from feedback.columns import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
