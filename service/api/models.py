"""`GET /v1/models`: the assistants a key may talk to, and the bare base."""

from typing import Any

from litestar import get

from feedback.keys import Caller
from service.auth import may
from service.routing import Route, Routing


@get("/v1/models", guards=[may("chat")])
async def list_models(caller: Caller, routing: Routing) -> dict[str, Any]:
    shown = [route for route in routing.live_models() if caller.sees(route.assistant)]
    return {"object": "list", "data": [model_card(route) for route in shown]}


@get("/v1/models/{name:str}", guards=[may("chat")])
async def get_model(name: str, caller: Caller, routing: Routing) -> dict[str, Any]:
    async with routing.use(caller, name) as route:
        return {**model_card(route), "id": name}


def model_card(route: Route) -> dict[str, Any]:
    return {
        "id": route.assistant.name,
        "object": "model",
        "created": int(route.assistant.created_at.timestamp()),
        "owned_by": "burnish",
        "root": route.model,
        "parent": route.version.base_model,
    }
