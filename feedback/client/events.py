"""Server-sent events out of bytes as they come; pure. Leaves out where the bytes come from (streams.py)."""

import json
from collections.abc import Iterable
from typing import Any, Generic

from feedback.client.calls import Item, Reader, Result, only_what_is_known
from feedback.client.errors import of_event


class Events(Generic[Item, Result]):
    """Feeds a reader; `done` once `[DONE]` has come. Raises what the service says in mid-stream."""

    def __init__(self, reader: Reader[Item, Result], request_id: str | None) -> None:
        self.done = False
        self._reader = reader
        self._request_id = request_id
        self._rest = b""

    def feed(self, content: bytes) -> Iterable[Item]:
        """Lines end by line feeds alone: `str.splitlines` would cut a text at U+2028 and the like."""
        *lines, self._rest = (self._rest + content).split(b"\n")
        for line in lines:
            event = self._event(line)
            if event is not None:
                with only_what_is_known():
                    items = list(self._reader.read(event))
                yield from items

    def _event(self, line: bytes) -> dict[str, Any] | None:
        """None: a comment, an empty line, the end."""
        name, _, data = line.partition(b":")
        if name != b"data":
            return None
        if data.strip() == b"[DONE]":
            self.done = True
            return None
        with only_what_is_known():
            event: dict[str, Any] = json.loads(data)
            said = event.get("error")
        if isinstance(said, dict):
            raise of_event({"message": "The stream ended with an error.", **said}, self._request_id)
        return event
