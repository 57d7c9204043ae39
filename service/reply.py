"""A reply as it grows, between the task that writes it (chat.py) and the connection that reads it (api)."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from feedback.errors import BurnishError
from service.engines.base import FinishReason, TokenLogprob


@dataclass
class Choice:
    """A reply as it grows."""

    index: int
    message_id: int
    version: str
    text: str = ""
    finish_reason: FinishReason | None = None
    stored: bool = False
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    logprobs: list[TokenLogprob] = field(default_factory=list)


@dataclass(frozen=True)
class Piece:
    """A choice's next piece of text; the last one carries `finish_reason`."""

    index: int
    text: str
    finish_reason: FinishReason | None
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(eq=False)
class Reply:
    """A turn under way: read its `pieces()` or wait until it is `complete()`; then `choices` have all of it.

    `abandon()` it when nobody listens any more.
    """

    completion_id: str
    created: int
    model: str
    """The version that writes it; of a comparison the assistant alone, since two may write."""
    choices: list[Choice]
    with_logprobs: bool
    producer: asyncio.Task[None] | None = None
    cut_short: BurnishError | None = None
    """Why it was ended from outside."""
    _unread: list[Piece] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _ended: bool = False
    _error: Exception | None = None

    async def pieces(self) -> AsyncIterator[list[Piece]]:
        """What has been written since the last look, as soon as there is something; nothing after a `nudge`."""
        while not self._ended or self._unread:
            await self._news.wait()
            self._news.clear()
            unread, self._unread = self._unread, []
            if unread or not self._ended:
                yield unread
        if self._error is not None:
            raise self._error

    def nudge(self) -> None:
        """Let the reader of `pieces()` have its turn although nothing was written."""
        self._news.set()

    async def complete(self) -> "Reply":
        """Wait for all of it."""
        assert self.producer is not None
        await asyncio.wait([self.producer])
        if self._error is not None:
            raise self._error
        return self

    def abandon(self) -> None:
        if self.producer is not None and not self.producer.cancelling():  # it stores what there is: once is enough
            self.producer.cancel()

    @property
    def prompt_tokens(self) -> int:
        return max(choice.prompt_tokens for choice in self.choices)

    @property
    def cached_tokens(self) -> int:
        """What no choice had to read: after the first one, the others find the prompt in the cache anyway."""
        return min(choice.cached_tokens for choice in self.choices)

    @property
    def completion_tokens(self) -> int:
        return sum(choice.completion_tokens for choice in self.choices)

    # ── for whoever writes it ──

    async def begun(self) -> None:
        """Returns once there is something to read; raises the error if that is all there is."""
        await self._news.wait()
        if self._error is not None and not self._unread:
            raise self._error

    def add(self, piece: Piece) -> None:
        self._unread.append(piece)
        self._news.set()

    def end(self, error: Exception | None = None) -> None:
        self._ended, self._error = True, error
        self._news.set()

    def cut(self, error: BurnishError) -> None:
        """Stop writing and end with `error`."""
        self.cut_short = self.cut_short or error
        self.abandon()
