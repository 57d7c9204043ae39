"""What every page is made with: templates, static files by their content's hash, and headers that let nothing else in.

Leaves out who looks at a page (visitors.py) and the single request's view of all this (page.py).
"""

import gzip
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from feedback import keys, reasons
from feedback.config import Settings
from feedback.database import Database
from feedback.keys import Caller
from feedback.progress import duration
from feedback.states import Role
from feedback.traffic import Counts
from service.web import markdown

_HERE = Path(__file__).parent
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
    "vary": "cookie, accept-language",
}
"""Of every page: no script but our files, none inline; nobody frames it; nothing of it is kept by a cache."""


@dataclass(frozen=True)
class StaticFile:
    digest: str
    media_type: str
    content: bytes
    compressed: bytes


class Site:
    def __init__(self, database: Database, settings: Settings, secret: bytes) -> None:
        self.database = database
        self.settings = settings
        self.secret = secret
        self.caller = Caller(0, "pages", Role.CHAT, None)
        """Whose requests are those of people who needn't sign in; known once the site is open."""
        self.days_over: dict[int, Counts] = {}
        """Replies a day, by assistant: what is over needn't be counted again."""
        self.static = {path.name: _read(path) for path in sorted((_HERE / "static").iterdir()) if path.suffix in _TYPES}
        self.templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.templates.globals["static"] = self.url_of
        self.templates.filters["markdown"] = markdown.render
        self.templates.filters["reason"] = reasons.told
        self.templates.filters["moment"] = moment
        self.templates.filters["duration"] = duration

    def open(self) -> None:
        with self.database.write() as session:
            self.caller = keys.caller_of(session, keys.key_of_pages(session))

    def url_of(self, name: str) -> str:
        """Where a static file is, for as long as it has this content: browsers may keep it for ever."""
        return f"/static/{self.static[name].digest}/{name}"


def moment(at: datetime) -> str:
    """
    >>> moment(datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2030-01-02 03:04'
    """
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def _read(path: Path) -> StaticFile:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:16]
    return StaticFile(digest, _TYPES[path.suffix], content, gzip.compress(content, mtime=0))
