"""A lean HTTP client for load: it shares the service's cores, so a token costs it microseconds.

Promises: one keep-alive connection a client, opened anew where the service closed it between two answers; each
server-sent event with the moment its last byte came; an answer that isn't a whole reply raises BenchmarkFailed. Leaves
out TLS, redirects, compression and everything else that `python -m service` doesn't do.
"""

import asyncio
import json
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from feedback.errors import BurnishError


class BenchmarkFailed(BurnishError):
    """What was measured didn't work; its figures would mean nothing."""


class Response:
    """One HTTP/1.1 response, fed with bytes as they come, however they are cut."""

    def __init__(self) -> None:
        self.status = 0
        self.complete = False
        self.body = bytearray()
        """What has come and wasn't taken as events."""
        self._raw = bytearray()
        self._chunked = False
        self._left = 0  # bytes that the chunk, or the body, still lacks
        self._read = self._read_head

    def feed(self, data: bytes) -> None:
        self._raw += data
        while not self.complete and self._read():
            pass

    def take_events(self) -> list[str]:
        """The data of the server-sent events that are whole by now; comments are left out."""
        end = self.body.rfind(b"\n\n")
        if end < 0:
            return []
        text = self.body[:end].decode()
        del self.body[: end + 2]
        return [event.removeprefix("data: ") for event in text.split("\n\n") if event.startswith("data: ")]

    # Each step reads what it waits for and says which one is next; False: the rest has yet to come.

    def _read_head(self) -> bool:
        head = self._take_until(b"\r\n\r\n")
        if head is None:
            return False
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.status = int(first.split()[1])
        self._chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        self._left = int(headers.get("content-length", 0))
        self._read = self._read_size if self._chunked else self._read_bytes
        self.complete = not self._chunked and self._left == 0
        return True

    def _read_size(self) -> bool:
        line = self._take_until(b"\r\n")
        if line is None:
            return False
        self._left = int(line.split(b";")[0], 16)
        self._read = self._read_bytes if self._left else self._read_trailer
        return True

    def _read_bytes(self) -> bool:
        taken = self._raw[: self._left]
        del self._raw[: self._left]
        self.body += taken
        self._left -= len(taken)
        if self._left:
            return False
        if self._chunked:
            self._read = self._read_chunk_end
        else:
            self.complete = True
        return True

    def _read_chunk_end(self) -> bool:
        if self._take_until(b"\r\n") is None:
            return False
        self._read = self._read_size
        return True

    def _read_trailer(self) -> bool:
        line = self._take_until(b"\r\n")
        self.complete = line == b""
        return line is not None

    def _take_until(self, mark: bytes) -> bytes | None:
        end = self._raw.find(mark)
        if end < 0:
            return None
        taken = bytes(self._raw[:end])
        del self._raw[: end + len(mark)]
        return taken


@dataclass
class Answer:
    """A reply as the client saw it; times by `perf_counter`. `arrivals` are of pieces with text."""

    asked: float
    arrivals: list[float] = field(default_factory=list)
    ended: float = 0.0
    model: str = ""
    text: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def take(self, event: dict[str, Any], now: float) -> None:
        """Note a chunk of a stream, or a whole completion."""
        if "error" in event:
            raise BenchmarkFailed(f"The service failed in mid-stream: {event['error']['message']}")
        self.model = event["model"]
        for choice in event["choices"]:
            text = choice.get("delta", choice.get("message", {})).get("content")
            if text:
                self.text += text
                self.arrivals.append(now)
        if usage := event.get("usage"):
            self.prompt_tokens, self.completion_tokens = usage["prompt_tokens"], usage["completion_tokens"]


class Client(asyncio.Protocol):
    """One connection to the service, for one request after the other."""

    def __init__(self, url: str, token: str) -> None:
        self._place = urlsplit(url)
        self._head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {self._place.netloc}\r\nauthorization: Bearer {token}\r\n"
            "content-type: application/json\r\ncontent-length: "
        )
        self._transport: asyncio.Transport | None = None
        self._response = Response()
        self._answer = Answer(0.0)
        self._done: asyncio.Future[None] | None = None

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, self._place.hostname, self._place.port)

    async def ask(self, body: dict[str, Any]) -> Answer:
        if self._transport is None or self._transport.is_closing():
            await self.connect()
        assert self._transport is not None
        content = json.dumps(body).encode()
        self._response, self._answer = Response(), Answer(perf_counter())
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(f"{self._head}{len(content)}\r\n\r\n".encode() + content)
        await self._done
        return self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        now = perf_counter()
        if self._done is None or self._done.done():
            return
        try:
            self._response.feed(data)
            self._note(now)
        except Exception as error:
            self._done.set_exception(error)

    def connection_lost(self, error: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(BenchmarkFailed("The service closed the connection in mid-answer; see its log."))

    def _note(self, now: float) -> None:
        response, answer, done = self._response, self._answer, self._done
        assert done is not None
        if response.status >= 400:
            if response.complete:
                raise BenchmarkFailed(f"The service answered {response.status}: {response.body.decode()[:500]}")
            return
        for event in response.take_events():
            if event == "[DONE]":
                answer.ended = now
            else:
                answer.take(json.loads(event), now)
        if response.complete:
            if response.body:
                answer.take(json.loads(response.body), now)
                answer.ended = now
            if not answer.ended:
                raise BenchmarkFailed("A stream ended before its [DONE].")
            done.set_result(None)


async def connect(url: str, token: str) -> Client:
    client = Client(url, token)
    await client.connect()
    return client
