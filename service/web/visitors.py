"""Who looks at a page: somebody who signed in with a key, somebody whom a proxy in front vouches for, or somebody at
this very machine, who needs to say nothing.

Leaves out what a role may do (feedback.keys) and the form tokens that tell a page's own forms from others' (page.py).
"""

import asyncio
import ipaddress
import re
from dataclasses import dataclass
from typing import Any

from litestar import Request

from feedback import web_sessions
from feedback.keys import Caller
from service.web.site import Site

SESSION_COOKIE = "burnish_session"
VISITOR_COOKIE = "burnish_visitor"
_VISITOR = re.compile(r"[A-Za-z0-9_-]{22}")
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
MOST_NAME = 150
_PERSON = "person:"


@dataclass(frozen=True)
class Visitor:
    caller: Caller
    user: str | None
    """What the person is called under the caller's key; None: the holder of the key themselves."""
    signed_in: bool
    """With a key of their own."""

    @property
    def named(self) -> bool:
        """By a proxy."""
        return self.user is not None and self.user.startswith(_PERSON)

    @property
    def name(self) -> str:
        return self.caller.name if self.user is None else self.user.partition(":")[2]


async def find(site: Site, request: Request[Any, Any, Any], visitor_id: str) -> Visitor | None:
    """None: who it is has to be said first. `visitor_id`: the browser's, from its cookie."""
    if token := request.cookies.get(SESSION_COOKIE):
        caller = await asyncio.to_thread(_look_up, site, token)
        if caller is not None:
            return Visitor(caller, None, signed_in=True)
    settings = site.settings
    if settings.identity_header:
        name = request.headers.get(settings.identity_header, "").strip()
        trusted = _comes_from(request, settings.trusted_proxies)
        if name and trusted and len(name) <= MOST_NAME and name.isprintable():
            return Visitor(site.caller, f"{_PERSON}{name}", signed_in=False)
        return None  # behind a proxy everybody seems to be at this machine
    if settings.open_to_this_machine and is_this_machine(request):
        return Visitor(site.caller, f"visitor:{visitor_id}", signed_in=False)
    return None


def known_visitor_id(request: Request[Any, Any, Any]) -> str | None:
    given = request.cookies.get(VISITOR_COOKIE, "")
    return given if _VISITOR.fullmatch(given) else None


def is_this_machine(request: Request[Any, Any, Any]) -> bool:
    """Whether the browser runs here and asked for this machine by its own names.

    Another site's name that was made to point here (DNS rebinding) is in Host; a proxy's request says that it was
    forwarded, or comes in HTTP/1.0, which browsers don't speak and a proxy that nobody told more does.
    """
    host = request.headers.get("host", "").lower()
    name = host.rpartition(":")[0] if re.search(r":[0-9]+$", host) else host
    named = name == "localhost" or name.endswith(".localhost") or _is_loopback(name.strip("[]"))
    forwarded = any(header in request.headers for header in _FORWARDED)
    old = request.scope.get("http_version") == "1.0"
    return named and not forwarded and not old and _is_loopback(_peer(request))


def _comes_from(request: Request[Any, Any, Any], networks: str) -> bool:
    try:
        peer = ipaddress.ip_address(_peer(request))
        return any(peer in ipaddress.ip_network(one.strip()) for one in networks.split(",") if one.strip())
    except ValueError:
        return False


def _peer(request: Request[Any, Any, Any]) -> str:
    return request.client.host if request.client is not None else ""


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _look_up(site: Site, token: str) -> Caller | None:
    with site.database.read() as session:
        return web_sessions.look_up(session, token)
