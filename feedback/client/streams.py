"""Streams as they are read by apps: items one after the other, and what they come to.

Nothing is asked before the first item is wanted. A stream that breaks off is an error (NotReached), or is taken up
again where that gives the rest.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import aclosing, closing
from types import TracebackType
from typing import Any, Generic, Self

import httpx

from feedback.client.calls import Call, Item, Result, Streaming
from feedback.client.errors import NotReached, of_transport
from feedback.client.events import Events
from feedback.client.retries import Retries


class _Reading(Generic[Item, Result]):
    """What both kinds of streams know: how often it broke off with nothing new, and what that means."""

    def __init__(self, streaming: Streaming[Item, Result], retries: Retries) -> None:
        self._streaming = streaming
        self._retries = retries
        self._broken = 0

    @property
    def result(self) -> Result:
        """What has come so far; at the end, all of it."""
        return self._streaming.reader.result

    def _events(self, answer: httpx.Response) -> Events[Item, Result]:
        return Events(self._streaming.reader, answer.headers.get("x-request-id"))

    def _pause_seconds(self, broken: NotReached | None) -> float:
        """How long to wait until it is taken up again; raises what is wrong if it isn't."""
        error = broken or NotReached("The stream ended before its end: the service was stopped, or a proxy cut it off.")
        self._broken += 1
        pause = self._retries.pause_seconds(error, self._broken, repeatable=self._streaming.resumes)
        if pause is None or not self._streaming.resumes:
            raise error
        return pause


class Stream(_Reading[Item, Result]):
    """`for item in stream`, once; in a `with` it is closed however that ends."""

    def __init__(
        self,
        streaming: Streaming[Item, Result],
        retries: Retries,
        open_call: Callable[[Call[Any]], httpx.Response],
    ) -> None:
        super().__init__(streaming, retries)
        self._open_call = open_call
        self._items = self._read()

    def __iter__(self) -> Iterator[Item]:
        return self._items

    def finish(self) -> Result:
        """Read to the end."""
        for _ in self._items:
            pass
        return self.result

    def close(self) -> None:
        self._items.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def _read(self) -> Generator[Item, None, None]:
        while True:
            broken = None
            with closing(self._open_call(self._streaming.call)) as answer:
                events = self._events(answer)
                try:
                    for content in answer.iter_bytes():
                        for item in events.feed(content):
                            self._broken = 0
                            yield item
                except httpx.HTTPError as error:
                    broken = of_transport(error, str(answer.request.url.copy_with(path="/", query=None)))
            if events.done:
                return
            time.sleep(self._pause_seconds(broken))


class AsyncStream(_Reading[Item, Result]):
    """`async for item in stream`, once; in an `async with` it is closed however that ends."""

    def __init__(
        self,
        streaming: Streaming[Item, Result],
        retries: Retries,
        open_call: Callable[[Call[Any]], Awaitable[httpx.Response]],
    ) -> None:
        super().__init__(streaming, retries)
        self._open_call = open_call
        self._items = self._read()

    def __aiter__(self) -> AsyncIterator[Item]:
        return self._items

    async def finish(self) -> Result:
        """Read to the end."""
        async for _ in self._items:
            pass
        return self.result

    async def close(self) -> None:
        await self._items.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.close()

    async def _read(self) -> AsyncGenerator[Item, None]:
        while True:
            broken = None
            async with aclosing(await self._open_call(self._streaming.call)) as answer:
                events = self._events(answer)
                try:
                    async for content in answer.aiter_bytes():
                        for item in events.feed(content):
                            self._broken = 0
                            yield item
                except httpx.HTTPError as error:
                    broken = of_transport(error, str(answer.request.url.copy_with(path="/", query=None)))
            if events.done:
                return
            await asyncio.sleep(self._pause_seconds(broken))
