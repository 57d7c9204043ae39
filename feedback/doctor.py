"""Looks the machine over: what would stop Burnish from running, and what to do about it."""

import os
import shutil
import sqlite3
import sys
from dataclasses import dataclass

import httpx
from sqlalchemy.exc import SQLAlchemyError

from feedback import guidelines, ports
from feedback.config import BUNDLED_MODEL, Settings
from feedback.errors import BurnishError

LEAST_FREE_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Finding:
    check: str
    ok: bool
    finding: str


def examine(settings: Settings) -> list[Finding]:
    return [
        _python(),
        _database(settings),
        _guidelines(settings),
        _sqlite(settings),
        _model(settings),
        _disk(settings),
        _secret(settings),
        _port(settings),
    ]


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Finding("python", sys.version_info >= (3, 11), f"{version} (3.11 or newer is needed)")


def _database(settings: Settings) -> Finding:
    try:
        database = settings.open_database()
        database.check()
    except BurnishError as error:
        return Finding("database", False, error.message)
    except SQLAlchemyError as error:
        return Finding("database", False, str(getattr(error, "orig", None) or error).splitlines()[0])
    return Finding("database", True, f"{'SQLite' if database.is_sqlite else 'PostgreSQL'}, schema up to date")


def _guidelines(settings: Settings) -> Finding:
    """Never a reason not to run: only a reminder."""
    try:
        database = settings.open_database()
        database.check()
        with database.read() as session:
            due = guidelines.due_reviews(session)
    except (BurnishError, SQLAlchemyError):
        return Finding("guidelines", True, "not looked at: the database says why")
    told = [f"{name}'s should be read again since {current.review_due}" for name, current in due]
    return Finding("guidelines", True, "; ".join(told) or "no review is due")


def _sqlite(settings: Settings) -> Finding:
    if settings.database_url.startswith("postgresql"):
        return Finding("sqlite", True, "not used")
    old = sqlite3.sqlite_version_info < (3, 51, 3)
    note = "; older than 3.51.3, so only the service folds the write-ahead log back" if old else ""
    return Finding("sqlite", True, sqlite3.sqlite_version + note)


def _model(settings: Settings) -> Finding:
    if settings.engine == "echo":
        return Finding("base model", True, "not needed by the echo engine")
    if settings.base_model != BUNDLED_MODEL:
        return Finding("base model", True, f"{settings.base_model} (not bundled; loaded at start)")
    folder = settings.models / BUNDLED_MODEL
    if not (folder / "config.json").exists():
        return Finding("base model", False, f"{BUNDLED_MODEL} isn't prepared: run `burnish model prepare`")
    return Finding("base model", True, str(folder))


def _disk(settings: Settings) -> Finding:
    folder = settings.data_folder if settings.data_folder.exists() else settings.data_folder.absolute().parent
    free = shutil.disk_usage(folder).free
    return Finding("disk", free > LEAST_FREE_BYTES, f"{free / 1024**3:.1f} GiB free where {settings.data_folder} is")


def _secret(settings: Settings) -> Finding:
    path = settings.data_folder / "secret"
    if settings.secret:
        return Finding("secret", len(settings.secret) >= 32, "from BURNISH_SECRET (32 characters or more)")
    if not path.exists():
        return Finding("secret", True, "made at the first start")
    private = os.stat(path).st_mode & 0o077 == 0
    return Finding("secret", private, f"{path}{'' if private else ' can be read by others: chmod 600 it'}")


def _port(settings: Settings) -> Finding:
    try:
        ports.take(settings.host, settings.port).close()
        return Finding("port", True, f"{settings.host}:{settings.port} is free")
    except BurnishError as error:
        reason = error.message
    try:
        ours = httpx.get(f"{settings.url}/health/live", timeout=5).json() == {"status": "live"}
    except (httpx.HTTPError, ValueError):
        ours = False
    return Finding("port", ours, f"{settings.host}:{settings.port} is served by Burnish" if ours else reason)
