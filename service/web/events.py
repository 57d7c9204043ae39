"""Server-sent events, as the chat page's script reads them (static/chat.js)."""

from litestar.serialization import encode_json

MEDIA_TYPE = "text/event-stream"


def event(name: str, **data: object) -> bytes:
    return f"event: {name}\ndata: ".encode() + encode_json(data) + b"\n\n"
