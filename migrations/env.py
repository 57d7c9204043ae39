"""Alembic's entry: runs the versions on the connection that `migrations.upgrade` hands over."""

from alembic import context

import feedback.fine_tuning.models
import feedback.models
import feedback.suites.models
import feedback.trials
import feedback.web_sessions
import feedback.webhooks.models
import feedback.workers  # noqa: F401  all fill the metadata
from feedback.columns import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
