"""Both clients behind one face, so that a test is written once: the async one is awaited on a loop of its own."""

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any

from feedback.client import AsyncBurnish, Burnish

KINDS = ("sync", "async")


def make_client(kind: str, *arguments: Any, **more: Any) -> Any:
    return Burnish(*arguments, **more) if kind == "sync" else Awaited(AsyncBurnish(*arguments, **more), Loop())


class Loop:
    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def wait(self, promise: Any) -> Any:
        return self._loop.run_until_complete(promise)

    def close(self) -> None:
        self.wait(self._loop.shutdown_asyncgens())
        self._loop.close()


class Awaited:
    """What is behind it, with everything that must be awaited awaited."""

    def __init__(self, behind: Any, loop: Loop) -> None:
        self._behind = behind
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return self._settled(getattr(self._behind, name))

    def __call__(self, *arguments: Any, **more: Any) -> Any:
        bare = [each._behind if isinstance(each, Awaited) else each for each in arguments]
        return self._settled(self._behind(*bare, **more))

    def __repr__(self) -> str:
        return repr(self._behind)

    def __iter__(self) -> Iterator[Any]:
        each = aiter(self._behind)
        while True:
            try:
                yield self._settled(self._loop.wait(anext(each)))
            except StopAsyncIteration:
                return

    def __enter__(self) -> Any:
        return self._settled(self._loop.wait(self._behind.__aenter__()))

    def __exit__(self, *_: Any) -> None:
        self._loop.wait(self._behind.__aexit__(None, None, None))
        if isinstance(self._behind, AsyncBurnish):
            self._loop.close()

    def _settled(self, found: Any) -> Any:
        if inspect.isawaitable(found):
            found = self._loop.wait(found)
        is_asked = callable(found) or hasattr(found, "_sender") or hasattr(found, "__aiter__")
        return Awaited(found, self._loop) if is_asked else found
