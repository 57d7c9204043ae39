"""A connection for requests that have one JSON answer: chats that needn't stream, feedback.

Promises: one keep-alive connection for one request after the other, each with an `Idempotency-Key` if it is given one;
an answer of 400 and more raises BenchmarkFailed, a connection that ends before the whole answer came Unanswered.
"""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

from bench.client import BenchmarkFailed, Response


class Unanswered(BenchmarkFailed):
    """The service may have done what was asked, or not: nobody was told."""


class JsonClient:
    def __init__(self, url: str, token: str) -> None:
        self._place = urlsplit(url)
        self._authorization = f"authorization: Bearer {token}"
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def post(self, path: str, body: dict[str, Any], *, key: str | None = None) -> Any:
        content = json.dumps(body).encode()
        head = [f"POST {path} HTTP/1.1", f"host: {self._place.netloc}", self._authorization]
        head += ["content-type: application/json", f"content-length: {len(content)}"]
        head += [f"idempotency-key: {key}"] if key else []
        try:
            response = await self._exchange("\r\n".join([*head, "\r\n"]).encode() + content)
        except OSError as error:
            raise Unanswered(f"The connection broke: {error}") from error
        if response.status >= 400:
            raise BenchmarkFailed(f"The service answered {response.status}: {response.body.decode()[:500]}")
        return json.loads(response.body)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    async def _exchange(self, request: bytes) -> Response:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self._place.hostname, self._place.port)
        self._writer.write(request)
        response = Response()
        while not response.complete:
            data = await self._reader.read(65536)
            if not data:
                raise Unanswered("The service closed the connection before its answer.")
            response.feed(data)
        return response
