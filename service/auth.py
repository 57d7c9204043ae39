"""Key → caller, and what it may see. A guard names the deed that a route needs; the caller is then an argument."""

import asyncio
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler
from litestar.types import Guard
from sqlmodel import Session, select

from feedback import keys
from feedback.database import Database
from feedback.errors import NotFound, Unauthenticated
from feedback.keys import Caller
from feedback.models import Assistant

Connection = ASGIConnection[Any, Any, Any, Any]


async def authenticate(connection: Connection) -> Caller:
    """The caller behind the Authorization header; looked up once a request."""
    known = connection.scope["state"].get("caller")
    if isinstance(known, Caller):
        return known
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("No API key: send it as `Authorization: Bearer sk-burnish-…`.")
    caller = await asyncio.to_thread(_look_up, connection.app.state["database"], token.strip())
    connection.scope["state"]["caller"] = caller
    return caller


async def provide_caller(request: Request[Any, Any, Any]) -> Caller:
    return await authenticate(request)


def may(deed: str, *, everywhere: bool = False) -> Guard:
    """A guard that lets through keys whose role may do `deed`; `everywhere`: that aren't limited to some assistants."""

    async def guard(connection: Connection, _: BaseRouteHandler) -> None:
        caller = await authenticate(connection)
        caller.require(deed)
        if everywhere:
            caller.require_everything()

    return guard


def find_visible(session: Session, caller: Caller, name: str) -> Assistant | None:
    """The assistant, unless there is none or the key may not see it: nobody can tell which."""
    assistant = session.exec(select(Assistant).where(Assistant.name == name)).first()
    return assistant if assistant is not None and caller.sees(assistant) else None


def visible(session: Session, caller: Caller, name: str) -> Assistant:
    assistant = find_visible(session, caller, name)
    if assistant is None:
        raise NotFound(
            f"No assistant '{name}', or none that this key may see: ask for its name.",
            param="model",
            code="model_not_found",
        )
    return assistant


def _look_up(database: Database, token: str) -> Caller:
    with database.read() as session:
        return keys.authenticate(session, token)
