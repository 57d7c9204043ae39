"""Cron expressions, in UTC: whether one is right, and the times around a moment.

Five fields, minute hour day month weekday, as Debian's cron reads them (cronsim). Leaves out when a run is due
(due.py).
"""

from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

FIELDS = 5


def check(expression: str) -> None:
    """Raises ValueError, with what is wrong.

    >>> check("61 3 * * *")
    Traceback (most recent call last):
    ValueError: '61 3 * * *' is no cron expression (bad minute): write five fields, such as '30 3 * * *' for 3:30 UTC
    """
    try:
        if len(expression.split()) != FIELDS:
            raise CronSimError(f"{len(expression.split())} instead of {FIELDS} fields")
        if next_time(expression, datetime(2024, 1, 1, tzinfo=UTC)) is None:
            raise CronSimError("it never comes")
    except CronSimError as error:
        wrong = f"{str(error)[:1].lower()}{str(error)[1:]}"
        raise ValueError(
            f"'{expression}' is no cron expression ({wrong}): write five fields, such as '30 3 * * *' for 3:30 UTC"
        ) from None


def next_time(expression: str, after: datetime) -> datetime | None:
    """
    >>> str(next_time("30 3 * * 1-5", datetime(2026, 11, 28, 12, tzinfo=UTC)))
    '2026-11-30 03:30:00+00:00'
    """
    return next(CronSim(expression, after.astimezone(UTC)), None)


def last_time(expression: str, until: datetime) -> datetime | None:
    """The last time that has come by then.

    >>> str(last_time("30 3 * * 1-5", datetime(2026, 11, 28, 12, tzinfo=UTC)))
    '2026-11-27 03:30:00+00:00'
    """
    at = until.astimezone(UTC)
    if at == at.replace(second=0, microsecond=0):  # this very minute counts, and iterating would begin before it
        at = at.replace(microsecond=1)
    return next(CronSim(expression, at, reverse=True), None)
