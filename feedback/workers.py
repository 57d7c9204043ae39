"""Which workers are there: each says so every few seconds, however busy it is, so that a queued run can tell.

Leaves out who works on what: a run's lease says that (runs.py), and no worker loses one by being silent here.
"""

from contextlib import suppress
from datetime import datetime, timedelta

from sqlalchemy import delete, func, update
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Field, Session, col, select

from feedback.background import Background
from feedback.columns import Table, moment, now
from feedback.database import Database

SECONDS_BETWEEN_SIGNS = 10.0
LATELY_SECONDS = 30.0
"""A worker that hasn't been seen for so long is thought to be gone."""
FORGOTTEN_SECONDS = 86_400.0


class Worker(Table, table=True):
    """A worker's process. What a kill leaves goes after a day."""

    __tablename__ = "worker"
    name: str = Field(primary_key=True, max_length=120)
    started_at: datetime = moment()
    seen_at: datetime = moment(index=True)


def last_seen(session: Session) -> datetime | None:
    """When any worker was seen last; None: there has been none for a day."""
    return session.exec(select(func.max(Worker.seen_at))).one()


def is_any_there(session: Session) -> bool:
    seen = last_seen(session)
    return seen is not None and now() - seen < timedelta(seconds=LATELY_SECONDS)


def show(database: Database, name: str) -> None:
    """Say that worker `name` is there, and forget those that were killed long ago."""
    at = now()
    with database.write() as session:
        known = update(Worker).where(col(Worker.name) == name).values(seen_at=at)
        if session.connection().execute(known).rowcount == 0:
            session.add(Worker(name=name, started_at=at, seen_at=at))
        session.connection().execute(
            delete(Worker).where(col(Worker.seen_at) < at - timedelta(seconds=FORGOTTEN_SECONDS))
        )


def leave(database: Database, name: str) -> None:
    with database.write() as session:
        session.connection().execute(delete(Worker).where(col(Worker.name) == name))


class Presence(Background):
    """`with Presence(database, name):` shows the worker for as long as the block runs."""

    def __init__(self, database: Database, name: str) -> None:
        super().__init__("presence", wait_seconds=1.0)
        self._database = database
        self._name = name

    def _go_on(self) -> None:
        while True:
            with suppress(SQLAlchemyError):  # whoever works on the queue tells that the database is away
                show(self._database, self._name)
            if self._over.wait(SECONDS_BETWEEN_SIGNS):
                break
        with suppress(SQLAlchemyError):
            leave(self._database, self._name)
