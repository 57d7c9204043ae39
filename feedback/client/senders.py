"""Who sends calls: one waits for the answer, the other is awaited. Nothing else differs between the two clients.

Promises that neither a key nor a text is logged or put into an error; httpx's own log, which names each URL, is kept
from telling receipts and what was searched for.
"""

import asyncio
import logging
import os
import re
import time
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TypeVar

import httpx

from feedback.client.calls import Call, Item, M, Paged, Result, Streaming
from feedback.client.errors import BurnishError, of_answer, of_transport
from feedback.client.listings import AsyncListing, Listing
from feedback.client.retries import Retries
from feedback.client.streams import AsyncStream, Stream

T = TypeVar("T")
CONNECT_SECONDS = 5.0
LOCAL = "http://127.0.0.1:8400"
_SECRETS = re.compile(r"(/rcpt-|[?&]search=)[^/&?]+")


@dataclass(frozen=True)
class Connection:
    """Where Burnish is, and who asks."""

    base_url: str
    api_key: str | None = field(repr=False)
    timeout_seconds: float
    retries: Retries

    @classmethod
    def chosen(
        cls, base_url: str | None, api_key: str | None, timeout_seconds: float, max_retries: int
    ) -> "Connection":
        """What isn't given is BURNISH_BASE_URL, BURNISH_API_KEY, else the service on this machine, without a key."""
        url = base_url or os.environ.get("BURNISH_BASE_URL") or LOCAL
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"base_url is '{url}': write it with its scheme, such as {LOCAL}.")
        url = url.rstrip("/").removesuffix("/v1")  # as OpenAI's client takes it
        key = (api_key or os.environ.get("BURNISH_API_KEY") or "").strip()
        if not (key.isascii() and key.isprintable()):
            raise ValueError("api_key has characters that no key has: copy it anew.")
        return cls(url, key or None, timeout_seconds, Retries(max_retries))

    @property
    def timeout(self) -> httpx.Timeout:
        return httpx.Timeout(self.timeout_seconds, connect=min(CONNECT_SECONDS, self.timeout_seconds))

    @property
    def headers(self) -> dict[str, str]:
        try:
            release = version("burnish")
        except PackageNotFoundError:  # run from its folder
            release = "0"
        own = {"user-agent": f"burnish-client/{release}"}
        return {**own, "authorization": f"Bearer {self.api_key}"} if self.api_key else own


class SyncSender:
    def __init__(self, connection: Connection, transport: httpx.BaseTransport | None) -> None:
        logging.getLogger("httpx").addFilter(_without_secrets)
        self.connection = connection
        self._http = httpx.Client(
            base_url=connection.base_url, headers=connection.headers, timeout=connection.timeout, transport=transport
        )

    def send(self, call: Call[T]) -> T:
        return call.read(self._answer(call).content)

    def stream(self, streaming: Streaming[Item, Result]) -> Stream[Item, Result]:
        return Stream(streaming, self.connection.retries, lambda call: self._answer(call, streamed=True))

    def pages(self, paged: Paged[M]) -> Listing[M]:
        return Listing(paged, self.send)

    def close(self) -> None:
        self._http.close()

    def _answer(self, call: Call[T], *, streamed: bool = False) -> httpx.Response:
        """A good one, read unless it is to be streamed."""
        tried = 0
        while True:
            try:
                return self._try(call, streamed)
            except BurnishError as error:
                tried += 1
                pause = self.connection.retries.pause_seconds(error, tried, repeatable=call.repeatable)
                if pause is None:
                    raise
            time.sleep(pause)

    def _try(self, call: Call[T], streamed: bool) -> httpx.Response:
        try:
            answer = self._http.send(_request(self._http, call), stream=True)
            if not (streamed and answer.is_success):
                answer.read()
        except httpx.HTTPError as error:
            raise of_transport(error, self.connection.base_url) from error
        if not answer.is_success:
            raise of_answer(answer)
        return answer


class AsyncSender:
    def __init__(self, connection: Connection, transport: httpx.AsyncBaseTransport | None) -> None:
        logging.getLogger("httpx").addFilter(_without_secrets)
        self.connection = connection
        self._http = httpx.AsyncClient(
            base_url=connection.base_url, headers=connection.headers, timeout=connection.timeout, transport=transport
        )

    async def send(self, call: Call[T]) -> T:
        return call.read((await self._answer(call)).content)

    def stream(self, streaming: Streaming[Item, Result]) -> AsyncStream[Item, Result]:
        return AsyncStream(streaming, self.connection.retries, lambda call: self._answer(call, streamed=True))

    def pages(self, paged: Paged[M]) -> AsyncListing[M]:
        return AsyncListing(paged, self.send)

    async def close(self) -> None:
        await self._http.aclose()

    async def _answer(self, call: Call[T], *, streamed: bool = False) -> httpx.Response:
        """A good one, read unless it is to be streamed."""
        tried = 0
        while True:
            try:
                return await self._try(call, streamed)
            except BurnishError as error:
                tried += 1
                pause = self.connection.retries.pause_seconds(error, tried, repeatable=call.repeatable)
                if pause is None:
                    raise
            await asyncio.sleep(pause)

    async def _try(self, call: Call[T], streamed: bool) -> httpx.Response:
        try:
            answer = await self._http.send(_request(self._http, call), stream=True)
            if not (streamed and answer.is_success):
                await answer.aread()
        except httpx.HTTPError as error:
            raise of_transport(error, self.connection.base_url) from error
        if not answer.is_success:
            raise of_answer(answer)
        return answer


def _request(http: httpx.Client | httpx.AsyncClient, call: Call[T]) -> httpx.Request:
    return http.build_request(call.method, call.path, json=call.body, params=call.params, headers=call.headers)


def _without_secrets(record: logging.LogRecord) -> bool:
    """A filter that lets every record through, its URLs without receipts and searches."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            _SECRETS.sub(r"\1…", str(each)) if isinstance(each, httpx.URL) else each for each in record.args
        )
    return True
