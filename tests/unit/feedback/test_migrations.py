"""The schema's history on both databases: up, down, and no drift from the models."""

import pytest

import migrations
from feedback.config import Settings
from feedback.database import Database
from feedback.errors import BurnishError


def test_upgrade_downgrade_upgrade(settings: Settings) -> None:
    database = settings.open_database()
    migrations.upgrade(database)
    migrations.downgrade(database)
    current, head = migrations.schema_state(database)
    assert current is None
    migrations.upgrade(database)
    assert migrations.schema_state(database) == (head, head)


def test_models_and_migrations_agree(database: Database) -> None:
    assert migrations.drift(database) == []


def test_an_unmigrated_database_is_refused_with_the_remedy(settings: Settings) -> None:
    with pytest.raises(BurnishError, match="burnish up"):
        settings.open_database().check()


def test_a_schema_from_a_newer_version_is_refused_and_left_alone(database: Database) -> None:
    with database.write() as session:
        session.connection().exec_driver_sql("UPDATE alembic_version SET version_num = 'from-later'")
    with pytest.raises(BurnishError, match="a newer Burnish made it"):
        migrations.upgrade(database)
    assert migrations.schema_state(database)[0] == "from-later"
