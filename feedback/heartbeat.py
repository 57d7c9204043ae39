"""Keeps a run's lease alive in the background, whatever its worker is busy with, and through outages of the database.

Leaves out the queue and its fencing (runs.py): a heart that beats too late can do no harm.
"""

import time

import structlog
from sqlalchemy.exc import SQLAlchemyError

from feedback import logs, runs
from feedback.background import Background
from feedback.database import Database
from feedback.errors import LeaseLost
from feedback.runs import Claim

_log = structlog.get_logger()

RETRY_SECONDS = 1.0
"""Wait between two tries while the database is away."""
LOOK_SECONDS = 1.0
"""Between two renewals it is only looked whether the lease holds: a cancelled run ends soon."""


class Heartbeat(Background):
    """`with Heartbeat(database, held) as heart:` renews the lease four times in its length."""

    def __init__(self, database: Database, held: Claim) -> None:
        super().__init__(f"heartbeat {held.run_id}", wait_seconds=RETRY_SECONDS)
        self._database = database
        self._held = held
        self._renewed = time.monotonic()
        self._away = False
        self._lost: LeaseLost | None = None

    def check(self) -> None:
        """Raise LeaseLost if a beat found that the lease is gone."""
        if self._lost is not None:
            raise LeaseLost(self._lost.message)

    def beat(self) -> bool:
        """Renew the lease; False while the database is away.

        Raises LeaseLost when another worker has it, or the database was away until it must have run out.
        """
        at = time.monotonic()
        try:
            runs.heartbeat(self._database, self._held)
        except SQLAlchemyError as error:
            if not self._away:
                _log.warning("database away: no heartbeat", run=self._held.run_id, **logs.whereabouts(error))
            self._away = True
            if time.monotonic() - self._renewed > self._held.lease_seconds:
                raise LeaseLost(
                    f"The lease on {self._held.run_id} ran out: the database was away for too long."
                ) from error
            return False
        if self._away:
            _log.info("database back: heartbeat", run=self._held.run_id)
        self._renewed, self._away = at, False
        return True

    def _go_on(self) -> None:
        interval = self._held.lease_seconds / 4
        pause, due = min(LOOK_SECONDS, interval), time.monotonic() + interval
        while not self._over.wait(pause):
            try:
                if time.monotonic() < due:
                    self._look()
                elif self.beat():
                    due = time.monotonic() + interval
                pause = min(RETRY_SECONDS if self._away else LOOK_SECONDS, interval)
            except LeaseLost as lost:
                self._lost = lost
                return

    def _look(self) -> None:
        try:
            if not runs.holds(self._database, self._held):
                raise LeaseLost(f"The lease on {self._held.run_id} is gone: it was taken over or cancelled.")
        except SQLAlchemyError:
            pass  # the next beat tells
