"""The schema's history, the same for SQLite and PostgreSQL."""

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from feedback.errors import BurnishError

if TYPE_CHECKING:
    from feedback.database import Database

FOLDER = Path(__file__).parent


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    return config


def upgrade(database: "Database", revision: str = "head") -> None:
    """Raises BurnishError when the schema is one that only a newer version knows."""
    with database.connection() as connection:
        config = _config()
        config.attributes["connection"] = connection
        current = MigrationContext.configure(connection).get_current_revision()
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if current is not None and current not in known:
            raise BurnishError(
                f"The database schema is at {current}, which this version doesn't know: a newer Burnish made it. "
                "Install that one again, or restore a backup from before it."
            )
        command.upgrade(config, revision)
        connection.commit()


def downgrade(database: "Database", revision: str = "base") -> None:
    with database.connection() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
        connection.commit()


def schema_state(database: "Database") -> tuple[str | None, str | None]:
    """(the database's revision, the newest revision)."""
    with database.read() as session:  # readiness asks this again and again, and must not wait for a writer
        current = MigrationContext.configure(session.connection()).get_current_revision()
    return current, ScriptDirectory.from_config(_config()).get_current_head()


def drift(database: "Database") -> list[object]:
    """What the models say and the migrated schema doesn't, or the other way round."""
    import feedback.fine_tuning.models
    import feedback.models
    import feedback.suites.models
    import feedback.trials
    import feedback.web_sessions
    import feedback.webhooks.models
    import feedback.workers  # noqa: F401  all fill the metadata
    from feedback.columns import Table

    with database.connection() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, Table.metadata))
