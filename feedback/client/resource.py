"""A group of methods that both clients have, each written once.

A method makes a value of what is asked (calls.py); `asks`, `streams` and `lists` turn it into one that asks. For the
type checker, too: on `Burnish` it returns T, on `AsyncBurnish` an awaitable T, with the same parameters.
"""

from collections.abc import Callable, Coroutine
from functools import wraps
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from feedback.client.calls import Call, Item, M, Paged, Result, Streaming
from feedback.client.listings import AsyncListing, Listing
from feedback.client.senders import AsyncSender, SyncSender
from feedback.client.streams import AsyncStream, Stream

S = TypeVar("S", bound=SyncSender | AsyncSender)
T = TypeVar("T")
Parameters = ParamSpec("Parameters")
Waited = TypeVar("Waited")
Awaited = TypeVar("Awaited")


class Resource(Generic[S]):
    def __init__(self, sender: S) -> None:
        self._sender = sender


class Endpoint(Generic[Parameters, Waited, Awaited]):
    """A method: of a resource that waits it gives `Waited`, of one that is awaited `Awaited`."""

    def __init__(self, describe: Callable[..., Any], perform: Callable[[Any, Any], Any]) -> None:
        self._describe = describe
        self._perform = perform
        self.__doc__ = describe.__doc__

    @overload
    def __get__(self, resource: None, owner: type | None = None) -> Self: ...

    @overload
    def __get__(self, resource: Resource[SyncSender], owner: type | None = None) -> Callable[Parameters, Waited]: ...

    @overload
    def __get__(self, resource: Resource[AsyncSender], owner: type | None = None) -> Callable[Parameters, Awaited]: ...

    def __get__(self, resource: Any, owner: type | None = None) -> Any:
        if resource is None:
            return self

        describe = MethodType(self._describe, resource)

        @wraps(describe)
        def asked(*positional: Any, **named: Any) -> Any:
            return self._perform(resource._sender, describe(*positional, **named))

        return asked


def asks(
    describe: Callable[Concatenate[Any, Parameters], Call[T]],
) -> Endpoint[Parameters, T, Coroutine[Any, Any, T]]:
    return Endpoint(describe, lambda sender, call: sender.send(call))


def streams(
    describe: Callable[Concatenate[Any, Parameters], Streaming[Item, Result]],
) -> Endpoint[Parameters, Stream[Item, Result], AsyncStream[Item, Result]]:
    return Endpoint(describe, lambda sender, streaming: sender.stream(streaming))


def lists(
    describe: Callable[Concatenate[Any, Parameters], Paged[M]],
) -> Endpoint[Parameters, Listing[M], AsyncListing[M]]:
    return Endpoint(describe, lambda sender, paged: sender.pages(paged))
