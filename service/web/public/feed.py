"""An assistant's changes as an Atom feed (RFC 4287), for feed readers: the newest ones, in the reader's language."""

import re
from collections.abc import Sequence
from urllib.parse import quote
from xml.etree import ElementTree

from litestar import Response

from feedback.changelog import Change
from feedback.columns import now
from service.web.page import AnyResponse, Page, is_secure

NAMESPACE = "http://www.w3.org/2005/Atom"
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 can't hold, not even escaped; an operator's reason may."""


def answer(page: Page, name: str, changes: Sequence[Change]) -> AnyResponse:
    request = page.request
    scheme = "https" if is_secure(request) else request.url.scheme
    address = f"{scheme}://{request.url.netloc}/changes/{quote(name)}"
    made: AnyResponse = Response(_written(page, name, changes, address), media_type="application/atom+xml")
    made.set_header("x-content-type-options", "nosniff")
    made.set_header("cache-control", "private, max-age=300")
    made.set_header("vary", "cookie, accept-language")
    return made


def _written(page: Page, name: str, changes: Sequence[Change], address: str) -> bytes:
    t = page.words
    feed = ElementTree.Element("feed", {"xmlns": NAMESPACE, "xml:lang": t.language})
    _add(feed, "title", t("What changed in {name}", name=name))
    _add(feed, "id", address)
    ElementTree.SubElement(feed, "link", {"rel": "self", "href": f"{address}.atom"})
    ElementTree.SubElement(feed, "link", {"rel": "alternate", "type": "text/html", "href": address})
    _add(ElementTree.SubElement(feed, "author"), "name", name)
    _add(feed, "updated", max((one.at for one in changes), default=now()).isoformat())
    for one in changes:
        entry = ElementTree.SubElement(feed, "entry")
        _add(entry, "title", t(one.title))
        _add(entry, "id", f"{address}#{one.id}")
        ElementTree.SubElement(entry, "link", {"rel": "alternate", "type": "text/html", "href": f"{address}#{one.id}"})
        _add(entry, "updated", one.at.isoformat())
        _add(entry, "content", "\n".join(t(line) for line in one.lines))
    written: bytes = ElementTree.tostring(feed, encoding="utf-8", xml_declaration=True)
    return written


def _add(parent: ElementTree.Element, tag: str, text: str) -> None:
    ElementTree.SubElement(parent, tag).text = _NOT_XML.sub("", text)
