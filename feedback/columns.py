"""The kinds of columns that tables are made of. Leaves out the tables (models.py)."""

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Column, DateTime, Enum, Index, Integer, MetaData, false, text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

Json = dict[str, Any]
BIG: Any = BigInteger().with_variant(Integer, "sqlite")
"""64 bits wide; SQLite numbers rows by itself only in columns that it knows as INTEGER."""
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def is_storable(text: str) -> bool:
    """Whether every database and file can hold it: PostgreSQL refuses NUL, UTF-8 refuses lone surrogates.

    >>> [is_storable(text) for text in ("tea", "\\0", "\\ud800")]
    [True, False, False]
    """
    return _UNSTORABLE.search(text) is None


def finite(value: Any) -> Any:
    """As a JSON column takes it: None for what is no number, or infinite, which PostgreSQL's JSON doesn't know.

    >>> finite({"lower": float("-inf"), "all": [1.5, float("nan")]})
    {'lower': None, 'all': [1.5, None]}
    """
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, list):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def texts_in(value: Any) -> Iterator[str]:
    """Every string inside `value`, however deep.

    >>> list(texts_in({"tea": ["green", 1, ("black",)]}))
    ['tea', 'green', 'black']
    """
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            waiting += [*part, *part.values()][::-1]
        elif isinstance(part, list | tuple):
            waiting += part[::-1]


def now() -> datetime:
    return datetime.now(UTC)


def utc(text: str) -> datetime:
    """A day or a time in ISO 8601; without a zone it is UTC. Raises ValueError.

    >>> utc("2025-01-31").isoformat(), utc("2025-01-31T12:00:00+02:00").isoformat()
    ('2025-01-31T00:00:00+00:00', '2025-01-31T10:00:00+00:00')
    """
    told = datetime.fromisoformat(text)
    try:
        return (told if told.tzinfo else told.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{text} is before the first year or after the last") from error


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time on both databases: SQLite drops the zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Table(SQLModel):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def unique_where(name: str, column: str, where: str) -> Index:
    """One row a value of `column` at most, among those for which the SQL in `where` holds."""
    return Index(name, column, unique=True, sqlite_where=text(where), postgresql_where=text(where))


def index_where(name: str, *columns: str, where: str) -> Index:
    """Of the rows for which the SQL in `where` holds."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


def primary_key() -> Any:
    return Field(
        default=None,
        sa_type=BIG,
        primary_key=True,
    )


def reference(target: str, *, nullable: bool = False, index: bool = True, unique: bool = False) -> Any:
    return Field(
        default=None,
        foreign_key=target,
        nullable=nullable,
        index=index,
        unique=unique,
        sa_type=BIG,
    )


def moment(*, nullable: bool = False, index: bool = False) -> Any:
    if nullable:
        return Field(default=None, sa_type=UtcDateTime, nullable=True, index=index)
    return Field(default_factory=now, sa_type=UtcDateTime, nullable=False, index=index)


def word(enum: type[StrEnum], *, default: StrEnum | None = None, index: bool = False, nullable: bool = False) -> Any:
    """A state, stored as its word: a new one needs no migration."""
    stored = Enum(enum, native_enum=False, length=24, values_callable=lambda states: [state.value for state in states])
    return Field(default=default, sa_column=Column(stored, nullable=nullable, index=index))


def flag() -> Any:
    """No, until somebody says yes; also for rows that are inserted without it."""
    return Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=false()))


def json_column() -> Any:
    return Field(default_factory=dict, sa_column=Column(JSON, nullable=False))


def json_or_none() -> Any:
    return Field(default=None, sa_column=Column(JSON(none_as_null=True), nullable=True))


def json_list() -> Any:
    return Field(default_factory=list, sa_column=Column(JSON, nullable=False))
