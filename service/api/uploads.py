"""A multipart upload, read piece by piece and written straight to disk: no more of it is in memory than a piece.

Leaves out what becomes of the file (feedback.fine_tuning.files).
"""

import asyncio
from typing import Any

from litestar import Request
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from feedback.errors import BurnishError, InvalidInput, TooLarge
from feedback.fine_tuning.files import Incoming

MAX_FIELD_BYTES = 4096
MAX_FIELDS = 20
_AT_ONCE = 1 << 20
"""Bytes gathered before a thread writes them."""


class Form:
    """A form's fields, and the name of its file, whose bytes `incoming` has."""

    def __init__(self, incoming: Incoming) -> None:
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self._incoming = incoming
        self._segment: MultipartSegment | None = None
        self._field = bytearray()
        self._pieces = bytearray()

    async def take(self, event: MultipartSegment | bytes | bytearray | None) -> None:
        """What the parser found: a part's head, a piece of it, or None at its end."""
        if isinstance(event, MultipartSegment):
            self._segment, self._field = event, bytearray()
            if event.filename is not None:
                if event.name != "file" or self.filename is not None:
                    raise InvalidInput("Send one file, in the field `file`.", param="file")
                self.filename = event.filename.replace("\\", "/").rpartition("/")[2] or "file"
            return
        assert self._segment is not None
        if self._segment.filename is not None:
            if event is not None:
                self._pieces += event
            if self._pieces and (event is None or len(self._pieces) >= _AT_ONCE):
                piece, self._pieces = bytes(self._pieces), bytearray()
                await asyncio.to_thread(self._incoming.write, piece)
        elif event is not None:
            self._field += event
            if len(self._field) > MAX_FIELD_BYTES:
                raise InvalidInput(f"The field has more than {MAX_FIELD_BYTES} bytes.", param=self._segment.name[:50])
        else:
            self.fields[self._segment.name] = self._field.decode("utf-8", "replace")


async def receive(request: Request[Any, Any, Any], incoming: Incoming) -> Form:
    """Raises TooLarge or InvalidInput, but only once the whole body has come: until then no client reads an answer."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get("boundary", "")
    form = Form(incoming)
    parser: PushMultipartParser | None = None
    wrong: BurnishError | None = None
    if kind != "multipart/form-data" or not boundary:
        wrong = InvalidInput("Send the file as multipart/form-data with the fields `file` and `purpose`.")
    else:
        parser = PushMultipartParser(boundary, max_segment_count=MAX_FIELDS)
    async for chunk in request.stream():
        if wrong is not None or parser is None or parser.closed:
            continue
        try:
            for event in parser.parse(chunk):
                await form.take(event)
        except MultipartError as error:
            wrong = InvalidInput(f"The body isn't multipart/form-data as it should be: {error}.")
        except (InvalidInput, TooLarge) as error:
            wrong = error
    if wrong is None and (parser is None or not parser.closed):
        wrong = InvalidInput("The body ended before the form did: send it again.")
    if wrong is None and form.filename is None:
        wrong = InvalidInput("There is no file in the form: send it in the field `file`.", param="file")
    if wrong is not None:
        raise wrong
    return form
