"""What the client asks of Burnish, as values: what is sent, and how the answer is read.

Every method of a resource makes one of these, and nothing else: so it is written once for both clients. Leaves out
sending (senders.py).
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError

from feedback.client.errors import Unreadable

T = TypeVar("T")
Item = TypeVar("Item")
ItemOut = TypeVar("ItemOut", covariant=True)
Result = TypeVar("Result")
ResultOut = TypeVar("ResultOut", covariant=True)


class Told(BaseModel):
    """What Burnish answers; fields that a newer one adds are passed over, and no error quotes what was said."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True, populate_by_name=True)


M = TypeVar("M", bound=Told)


class Page(Told, Generic[M]):
    data: list[M]
    last_id: str | None = None
    """What to give as `after` for the next page."""
    has_more: bool = False


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request. Its representation tells no words: they may be anybody's."""

    method: str
    path: str
    read: Callable[[bytes], T] = field(repr=False)
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    params: Mapping[str, Any] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    repeats: bool = False
    """A POST that does the same if it is sent twice."""

    @property
    def repeatable(self) -> bool:
        return self.repeats or self.method in ("GET", "PUT", "DELETE")


class Reader(Protocol[ItemOut, ResultOut]):
    """Makes items of a stream's events, and keeps what all of them come to."""

    def read(self, event: dict[str, Any]) -> Iterable[ItemOut]: ...

    @property
    def result(self) -> ResultOut: ...


@dataclass(frozen=True)
class Streaming(Generic[Item, Result]):
    """A request that is answered by server-sent events."""

    call: Call[None]
    reader: Reader[Item, Result]
    resumes: bool = False
    """Asked again, it goes on: so where it breaks off it is."""


@dataclass(frozen=True)
class Paged(Generic[M]):
    """A list, a page at a time."""

    page: Callable[[str | None], Call[Page[M]]]
    """The call for what comes after an id."""


class HasId(Protocol):
    @property
    def id(self) -> str: ...


def id_of(thing: HasId | str) -> str:
    return thing if isinstance(thing, str) else thing.id


def path(pattern: str, *parts: str) -> str:
    """
    >>> path("/v1/assistants/{}/runs", "a/b")
    '/v1/assistants/a%2Fb/runs'
    >>> path("/v1/runs/{}", "")
    Traceback (most recent call last):
    ValueError: '' is no name or id.
    """
    for part in parts:
        if not part.strip("."):  # the URL would lead elsewhere
            raise ValueError(f"{part!r} is no name or id.")
    return pattern.format(*(quote(part, safe="") for part in parts))


def given(**fields: Any) -> dict[str, Any]:
    """What isn't None.

    >>> given(note=None, final=False)
    {'final': False}
    """
    return {name: value for name, value in fields.items() if value is not None}


def unread(content: bytes) -> None:
    """Of a call whose answer is streamed: its reader reads it."""


def one(model: type[M]) -> Callable[[bytes], M]:
    return lambda content: readable(content, model.model_validate)


def maybe(model: type[M]) -> Callable[[bytes], M | None]:
    return lambda content: readable(content, lambda found: None if found is None else model.model_validate(found))


def many(model: type[M]) -> Callable[[bytes], list[M]]:
    """A list, plain or in a page of its own."""

    def read(found: Any) -> list[M]:
        return [model.model_validate(each) for each in (found["data"] if isinstance(found, dict) else found)]

    return lambda content: readable(content, read)


def readable(content: bytes, read: Callable[[Any], T]) -> T:
    with only_what_is_known():
        return read(json.loads(content))


@contextmanager
def only_what_is_known() -> Iterator[None]:
    """Whatever can't be read raises Unreadable, which quotes nothing of the answer."""
    try:
        yield
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Unreadable(
            f"The answer isn't as this client knows it ({error.title}.{where}: {first['msg']}): is the service of "
            "another version?"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Unreadable("The answer isn't Burnish's: is another program there, or in between?") from None
