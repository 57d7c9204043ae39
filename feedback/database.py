"""One database, two kinds: SQLite embedded, PostgreSQL scaled out. Short, synchronous transactions.

`read()` and `write()` give a session; `write()` commits at its end or rolls everything back. On SQLite writers
take their lock at BEGIN (no upgrade deadlocks) and every commit is synced to disk before it returns; a file that
isn't there is made by migrations alone. Text that not every database can hold is refused here, whichever column it
is for or looked up in. Leaves out the schema (models.py, migrations/).
"""

import fcntl
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from sqlalchemy import URL, Connection, create_engine, event, func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlmodel import Session, SQLModel

from feedback.columns import Table, is_storable, texts_in
from feedback.errors import BurnishError, InvalidInput

T = TypeVar("T")
_SQLITE_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA busy_timeout=30000",
    "PRAGMA foreign_keys=ON",
    "PRAGMA cache_size=-16000",  # KiB: the pages that 10,000 rows of feedback are on, or each is written twice
    "PRAGMA secure_delete=ON",  # what is deleted is overwritten, for the most part: `scrub` does the rest
    # SQLite before 3.51.3 can, rarely, corrupt a WAL that several processes checkpoint: only the log's owner does.
    "PRAGMA wal_autocheckpoint=0",
)
_DEADLOCK = "40P01"
LAST_CHECKPOINT_MILLISECONDS = 2000
"""How long the checkpoint at shutdown waits for readers."""


class Database:
    def __init__(self, url: str, audit_key: Callable[[], bytes] | None = None) -> None:
        """`audit_key`: gives what the audit log is signed with; None: it isn't."""
        self.url = url
        self._info = {"audit_key": audit_key}
        self.is_sqlite = url.startswith("sqlite")
        self._ownership: BinaryIO | None = None
        if self.is_sqlite:
            self._file = Path(url.partition(":///")[2]).absolute()
            self._engine = create_engine(_only_existing(self._file), hide_parameters=True, connect_args={"timeout": 30})
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        else:
            self._engine = create_engine(url, hide_parameters=True, pool_pre_ping=True)
            event.listen(self._engine, "connect", _prepare_postgresql)
        event.listen(self._engine, "before_cursor_execute", _refuse_unstorable)
        # SQLite has a writer that must wait sleep and look again, up to 0.1 s: in this process they hand over at once.
        self._turn = threading.RLock() if self.is_sqlite else nullcontext()
        self._writing = self._engine.execution_options(burnish_writes=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        with Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        writing = Session(self._writing, expire_on_commit=False, info=dict(self._info))
        with self._turn, writing as session, session.begin():
            yield session

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """For migrations, which make the SQLite file if there is none."""
        if self.is_sqlite:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.touch()
        with self._writing.connect() as connection:
            yield connection

    def checkpoint(self, *, last: bool = False) -> None:
        """Fold SQLite's write-ahead log back into the file, if no other process owns the log: the service does.

        Folds what no reader still needs, and nobody waits for it. The `last` one, at shutdown, empties the log too:
        that holds writers up until older readers have finished, so it soon gives up.
        """
        if self.is_sqlite and self._own_log():
            self._fold("TRUNCATE" if last else "PASSIVE")

    def scrub(self) -> bool:
        """Leave nothing readable of what was deleted; False when that has to be tried again, or by the log's owner.

        SQLite: the file is written anew (VACUUM), since moved rows leave copies in its pages that `secure_delete`
        doesn't reach, and the log emptied; nobody else writes meanwhile. PostgreSQL: VACUUM, for what it is worth,
        and ANALYZE, since the statistics that it plans by quote rows.
        """
        if not self.is_sqlite:
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql(f"VACUUM (ANALYZE) {', '.join(Table.metadata.tables)}")
            return True
        owned = self._ownership is not None
        if not self._own_log():
            return False
        try:
            with self._turn:
                # first, so that the file isn't written anew, into the log, again and again while somebody reads
                return self._fold("TRUNCATE") and self._fold("TRUNCATE", "VACUUM")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:  # another process writes for long
                return False
            raise BurnishError(
                f"SQLite can't write the database anew ({error}): that takes as much room as {self._file} has, there "
                "and in the folder for temporary files (SQLITE_TMPDIR). Until then it may hold what was erased."
            ) from error
        finally:
            if not owned:
                self._disown_log()

    def _fold(self, mode: str, *before: str) -> bool:
        """Whether all of the log is folded back."""
        raw = self._engine.raw_connection()
        try:
            cursor = raw.cursor()
            for statement in before:
                cursor.execute(statement)
            if mode == "TRUNCATE":
                raw.detach()  # its short patience is nobody else's
                cursor.execute(f"PRAGMA busy_timeout={LAST_CHECKPOINT_MILLISECONDS}")
            cursor.execute(f"PRAGMA wal_checkpoint({mode})")
            (busy, *_), *_ = cursor.fetchall()
            return not busy
        finally:
            raw.close()

    def _own_log(self) -> bool:
        """Become the process that folds the log, unless another one is: then for as long as the database is open."""
        if self._ownership is None:
            lock = self._file.with_name(f"{self._file.name}-owner").open("ab")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                return False
            self._ownership = lock
        return True

    def _disown_log(self) -> None:
        if self._ownership is not None:
            self._ownership.close()
            self._ownership = None

    def check(self) -> None:
        """Raise BurnishError unless the database answers and its schema is this version's."""
        from migrations import schema_state

        if self.is_sqlite and not self._file.exists():
            raise BurnishError(
                f"There is no database {self._file}: set BURNISH_DATA_FOLDER to the folder that has one, "
                "or make one with `burnish up` or `burnish doctor --migrate`."
            )
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
        self._disown_log()


def keep_out(session: Session, what: str, *, shared: bool = False) -> None:
    """Until the transaction ends, whoever keeps others out of `what` waits for those in it, and they for it.

    SQLite needs no such thing: what is read is from before a write or after it.
    """
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        lock = func.pg_advisory_xact_lock_shared if shared else func.pg_advisory_xact_lock
        connection.execute(select(lock(func.hashtextextended(what, 0))))


def came_first(error: DBAPIError) -> bool:
    """Whether another transaction did: it took what is unique or what we pointed at, or we waited for each other.

    Trying again then sees what it did.
    """
    return isinstance(error, IntegrityError) or getattr(error.orig, "sqlstate", None) == _DEADLOCK


def in_portions(values: Iterable[T], most: int = 1000) -> Iterator[list[T]]:
    """For `IN (…)`: PostgreSQL takes 65,535 parameters, SQLite 32,766.

    >>> list(in_portions(range(5), most=2))
    [[0, 1], [2, 3], [4]]
    """
    rest = iter(values)
    while portion := list(islice(rest, most)):
        yield portion


def reserve_ids(session: Session, table: type[SQLModel], count: int) -> list[int]:
    """Ids that nobody else gets: PostgreSQL's sequence gives them out, on SQLite only we write now."""
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        take = text("SELECT nextval(pg_get_serial_sequence(:name, 'id')) FROM generate_series(1, :count)")
        return list(connection.execute(take, {"name": table.__tablename__, "count": count}).scalars())
    newest = connection.execute(select(func.max(table.__table__.c.id))).scalar_one() or 0  # type: ignore[attr-defined]
    return list(range(newest + 1, newest + 1 + count))


def _only_existing(file: Path) -> URL:
    """SQLite would make an empty file wherever one is looked for."""
    return URL.create("sqlite", database=file.as_uri(), query={"uri": "true", "mode": "rw"})


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # sqlite3 must not begin transactions of its own: _begin_sqlite does
    cursor = connection.cursor()
    for pragma in _SQLITE_PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _prepare_postgresql(connection: Any, _record: Any) -> None:
    # in the server's own zone the year 9999 may end as the year 10000, which Python doesn't have
    with connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
    connection.commit()  # or the pool's rollback takes it back


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("burnish_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _refuse_unstorable(
    _connection: Connection, _cursor: Any, _statement: str, parameters: Any, _context: Any, _executemany: bool
) -> None:
    if not all(is_storable(text) for text in texts_in(parameters)):
        raise InvalidInput("Names, ids and texts can't have NUL characters or lone surrogates: take them out.")
