"""`/widget.js`: the feedback widget for pages of other sites, at an address that stays.

Leaves out what it may call from there (service/cross_origin.py) and how a site uses it (docs/widget.md).
"""

import gzip
import hashlib
from functools import cache
from typing import Any

from litestar import Request, Response, get

from service.web.site import Site, StaticFile

FILE = "feedback-widget.js"
_HEADERS = {
    "cache-control": "public, max-age=600",
    "vary": "accept-encoding",
    "access-control-allow-origin": "*",
    "cross-origin-resource-policy": "cross-origin",
    "x-content-type-options": "nosniff",
}
"""Anybody's page may load it, and has a new version within ten minutes."""


@get("/widget.js", sync_to_thread=False)
def get_widget(request: Request[Any, Any, Any], site: Site) -> Response[bytes]:
    file = squeezed(site.static[FILE])
    headers = {**_HEADERS, "etag": f'W/"{file.digest}"'}
    if file.digest in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=304, media_type=file.media_type, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.compressed, media_type=file.media_type, headers={**headers, "content-encoding": "gzip"})
    return Response(file.content, media_type=file.media_type, headers=headers)


@cache
def squeezed(file: StaticFile) -> StaticFile:
    """Without indentation, lines of comments, and the ends of lines that go on: none of that means anything there.

    >>> made = squeezed(StaticFile("", "text/javascript", b"if (a) {\\n  // why\\n  b();\\n}\\n", b""))
    >>> made.content
    b'if (a) {b();}\\n'
    """
    lines = (line.strip() for line in file.content.split(b"\n"))
    kept = (line for line in lines if line and not line.startswith(b"//"))
    content = b"".join(line if line.endswith((b"{", b"(", b",", b";")) else line + b"\n" for line in kept)
    digest = hashlib.sha256(content).hexdigest()[:16]
    return StaticFile(digest, file.media_type, content, gzip.compress(content, mtime=0))
