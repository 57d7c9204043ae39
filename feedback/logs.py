"""Structured logs, one JSON line an event, on stderr. What people wrote never gets in: only who, what, how long."""

import logging
import sys
import traceback
from typing import Any

import structlog


def configure(level: str) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def whereabouts(error: BaseException | None) -> dict[str, Any]:
    """What a log may say of an unexpected error: its type and place. Its message may quote what people wrote."""
    if error is None:
        return {}
    return {"error": type(error).__name__, "traceback": "".join(traceback.format_tb(error.__traceback__))}
