"""Lists that read on by themselves: the next page is asked for when the one before has been gone through."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Generic

from feedback.client.calls import Call, M, Page, Paged


class Listing(Generic[M]):
    """`for one in listing` goes through all of it, from the start each time."""

    def __init__(self, paged: Paged[M], send: Callable[[Call[Any]], Page[M]]) -> None:
        self._paged = paged
        self._send = send

    def page(self, after: str | None = None) -> Page[M]:
        """One page: the first, or the one after an id."""
        return self._send(self._paged.page(after))

    def __iter__(self) -> Iterator[M]:
        page = self.page()
        yield from page.data
        while page.has_more and page.last_id is not None:
            page = self.page(page.last_id)
            yield from page.data


class AsyncListing(Generic[M]):
    """`async for one in listing` goes through all of it, from the start each time."""

    def __init__(self, paged: Paged[M], send: Callable[[Call[Any]], Awaitable[Page[M]]]) -> None:
        self._paged = paged
        self._send = send

    async def page(self, after: str | None = None) -> Page[M]:
        """One page: the first, or the one after an id."""
        return await self._send(self._paged.page(after))

    async def __aiter__(self) -> AsyncIterator[M]:
        page = await self.page()
        for one in page.data:
            yield one
        while page.has_more and page.last_id is not None:
            page = await self.page(page.last_id)
            for one in page.data:
                yield one
