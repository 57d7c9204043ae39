"""What the worker does beside its runs, in the background: it finishes erasures, reads the files of fine-tuning jobs,
and every hour enforces retention, sweeps, and looks for drift.

What fails is logged and tried again. Leaves out what they do (feedback.erasure, retention.py).
"""

import time

import structlog

from feedback import assistants, drift, logs, retention
from feedback.background import Background
from feedback.config import Settings
from feedback.database import Database
from feedback.erasure import finish
from feedback.errors import BurnishError
from feedback.fine_tuning import files as uploads
from feedback.fine_tuning import jobs
from feedback.webhooks import deliveries

_log = structlog.get_logger()

RETENTION_SECONDS = 3600.0
DRIFT_SECONDS = 3600.0
RETRY_SECONDS = 30.0


class Housekeeping(Background):
    """`with Housekeeping(settings, database):` keeps house for as long as the block runs."""

    def __init__(self, settings: Settings, database: Database) -> None:
        # what it is busy with then can be broken off: the next worker goes on
        super().__init__("housekeeping", wait_seconds=RETRY_SECONDS)
        self._settings = settings
        self._database = database
        self._scrub_due = self._retention_due = self._drift_due = 0.0

    def _go_on(self) -> None:
        chores = (self._scrub, self._clean_files, self._read_job_files, self._enforce_retention, self._look_for_drift)
        failing: set[str] = set()
        while not self._over.is_set():
            for chore in chores:  # none holds up another
                try:
                    chore()
                    failing.discard(chore.__name__)
                except Exception as problem:
                    if chore.__name__ not in failing:  # once, however long it lasts
                        reason = problem.message if isinstance(problem, BurnishError) else None
                        _log.error("housekeeping failed", reason=reason, **logs.whereabouts(problem))
                    failing.add(chore.__name__)
            self._over.wait(RETRY_SECONDS if failing else max(1.0, self._settings.queue_poll_seconds))

    def _scrub(self) -> None:
        if time.monotonic() >= self._scrub_due and not finish.scrub(self._database):
            self._scrub_due = time.monotonic() + RETRY_SECONDS  # who writes waits while it is tried

    def _clean_files(self) -> None:
        finish.clean_files(self._database, self._settings)

    def _read_job_files(self) -> None:
        """Beside a run: whoever uploaded a bad file needn't wait for its end to hear of it."""
        jobs.advance(self._database, self._settings)

    def _enforce_retention(self) -> None:
        if time.monotonic() >= self._retention_due:
            finish.sweep(self._database, self._settings.runs)
            uploads.sweep(self._database, self._settings)
            with self._database.write() as session:
                deliveries.forget_old(session)
            if gone := retention.enforce(self._database):
                _log.info("retention", conversations=gone)
            self._retention_due = time.monotonic() + RETENTION_SECONDS

    def _look_for_drift(self) -> None:
        """Looked at outside a write, which whoever chats would wait for."""
        if time.monotonic() < self._drift_due:
            return
        self._drift_due = time.monotonic() + DRIFT_SECONDS
        with self._database.read() as session:
            reports = [(one.name, drift.drift(session, one)) for one in assistants.list_assistants(session)]
        for name, report in reports:
            if report is None or not any(one.alert for one in report.found):
                continue
            with self._database.write() as session:
                for found in drift.tell(session, assistants.get_assistant(session, name), report):
                    _log.warning("drift", assistant=name, what=found.what, psi=round(found.psi or 0, 3))
