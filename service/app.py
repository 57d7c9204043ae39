"""All wiring on one page: settings and an engine in, the HTTP application out."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from feedback.config import Settings
from service import rollouts, upkeep
from service.api.router import api
from service.auth import provide_caller
from service.chat import Chat
from service.cross_origin import answer_other_origins
from service.engines.base import Engine
from service.errors import HANDLERS
from service.requests_log import log_requests
from service.routing import Routing
from service.secret import Secret
from service.web.router import pages
from service.web.site import Site
from service.webhooks import send_all


def create_app(settings: Settings, engine: Engine) -> Litestar:
    database = settings.open_database()
    secret = Secret(settings.read_secret())
    routing = Routing(database, engine, settings)
    site = Site(database, settings, secret.value)
    chats = Chat(database, engine, routing, settings, secret.value)

    @contextlib.asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        try:
            await asyncio.to_thread(database.check)
            await asyncio.to_thread(site.open)
            await engine.start()
            await routing.refresh()
        except Exception as error:
            app.state["failure"] = error  # for whoever started the server: it only learns that starting failed
            raise
        background = [
            asyncio.create_task(routing.follow()),
            asyncio.create_task(rollouts.tend(database, routing)),
            asyncio.create_task(send_all(database, settings)),
            asyncio.create_task(upkeep.tend(database, routing.problems, request_seconds=settings.request_seconds)),
        ]
        try:
            yield
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await chats.drain(0)
            await engine.close()
            await upkeep.finish(database)
            database.close()

    app = Litestar(
        route_handlers=[api(), pages(site)],
        dependencies={
            "caller": Provide(provide_caller),
            "database": Provide(lambda: database, sync_to_thread=False),
            "engine": Provide(lambda: engine, sync_to_thread=False),
            "routing": Provide(lambda: routing, sync_to_thread=False),
            "chat": Provide(lambda: chats, sync_to_thread=False),
            "secret": Provide(lambda: secret, sync_to_thread=False),
            "settings": Provide(lambda: settings, sync_to_thread=False),
        },
        exception_handlers=HANDLERS,
        lifespan=[lifespan],
        state=State({"database": database, "chat": chats, "site": site}),
        openapi_config=OpenAPIConfig(title="Burnish", version="1", path="/schema", render_plugins=[JsonRenderPlugin()]),
        logging_config=None,
        request_max_body_size=4_000_000,
    )
    # around the router, so that a 404 has a request id too, and a page elsewhere can read an error
    app.asgi_handler = log_requests(answer_other_origins(app.asgi_handler, settings.widget_origins))
    return app
