"""`/health/live`: the process answers. `/health/ready`: it can chat, and what is wrong although it can."""

import asyncio
from typing import Any

from litestar import Request, Response, get

from feedback.database import Database
from feedback.errors import BurnishError
from service.auth import authenticate
from service.chat import Chat
from service.engines.base import Engine
from service.routing import Routing


@get("/health/live")
async def live() -> dict[str, str]:
    return {"status": "live"}


@get("/health/ready")
async def ready(
    request: Request[Any, Any, Any], database: Database, engine: Engine, routing: Routing, chat: Chat
) -> Response[dict[str, Any]]:
    """Anybody may ask whether it is ready; who serves and what is wrong is for operators' keys, as far as each sees."""
    engine_health = engine.health()
    try:
        await asyncio.to_thread(database.check)
        database_says = "ok"
    except BurnishError as error:
        database_says = error.message
    except Exception as error:
        database_says = f"does not answer ({type(error).__name__})"
    able = engine_health.ready and database_says == "ok" and not chat.draining
    body: dict[str, Any] = {"status": "ready" if able else "not ready", "problems": len(routing.problems)}
    caller = await authenticate(request) if "authorization" in request.headers and database_says == "ok" else None
    if caller is not None and caller.may("operate"):
        body |= {
            "engine": engine_health.detail,
            "running": engine_health.running,
            "waiting": engine_health.waiting,
            "database": database_says,
            "serving": [route.model for route in routing.live_models() if caller.sees(route.assistant)],
            "problems": routing.problems_for(caller),
        }
    elif not able:
        body |= {"engine": engine_health.detail, "database": database_says}
    if chat.draining:
        body["service"] = "stopping: running replies finish, new requests are refused"
    return Response(body, status_code=200 if able else 503)
