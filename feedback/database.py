"""One database, two kinds: SQLite embedded, PostgreSQL scaled out. Short, synchronous transactions.

`read()` and `write()` give a session; `write()` commits at its end or rolls everything back. On SQLite writers
take their lock at BEGIN (no upgrade deadlocks) and every commit is synced to disk before it returns.
Leaves out the schema (models.py, migrations/).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, text
from sqlmodel import Session

from feedback.errors import BurnishError

_SQLITE_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA busy_timeout=30000",
    "PRAGMA foreign_keys=ON",
    # SQLite before 3.51.3 can, rarely, corrupt a WAL that several processes checkpoint: only the service does.
    "PRAGMA wal_autocheckpoint=0",
)


class Database:
    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        if self.is_sqlite:
            Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
            self._engine = create_engine(url, hide_parameters=True, connect_args={"timeout": 30})
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        else:
            self._engine = create_engine(url, hide_parameters=True, pool_pre_ping=True)
        self._writing = self._engine.execution_options(burnish_writes=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        with Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        with Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """For migrations."""
        with self._writing.connect() as connection:
            yield connection

    def checkpoint(self) -> None:
        """Fold SQLite's write-ahead log back into the file. One process does this: the service."""
        if self.is_sqlite:
            raw = self._engine.raw_connection()
            try:
                raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                raw.close()

    def check(self) -> None:
        """Raise BurnishError unless the database answers and its schema is this version's."""
        from migrations import schema_state

        current, head = schema_state(self)
        if current != head:
            raise BurnishError(
                f"The database schema is at {current or 'nothing'}, this version needs {head}: "
                "run `burnish up`, or `burnish doctor --migrate`."
            )
        with self.read() as session:
            session.connection().execute(text("SELECT 1"))

    def close(self) -> None:
        self._engine.dispose()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # sqlite3 must not begin transactions of its own: _begin_sqlite does
    cursor = connection.cursor()
    for pragma in _SQLITE_PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("burnish_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
