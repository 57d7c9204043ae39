"""All wiring on one page: settings and an engine in, the HTTP application out."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from feedback.config import Settings
from service import rollouts, upkeep
from service.api import (
    assistants,
    cases,
    chat,
    comparisons,
    contributors,
    conversations,
    datasets,
    erasures,
    evaluations,
    feedback,
    files,
    fine_tuning,
    guidelines,
    health,
    lineage,
    models,
    review,
    runs,
    suites,
    webhooks,
)
from service.auth import provide_caller
from service.chat import Chat
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
        route_handlers=[
            chat.create_chat_completion,
            models.list_models,
            models.get_model,
            comparisons.create_comparison,
            comparisons.choose,
            Router(
                path="/",
                route_handlers=[
                    conversations.list_conversations,
                    conversations.export_conversations,
                    conversations.get_conversation,
                    conversations.rename_conversation,
                    conversations.erase_conversation,
                    conversations.erase_all,
                ],
            ),
            feedback.create_feedback,
            feedback.get_form,
            feedback.get_receipt,
            feedback.withdraw_feedback,
            feedback.list_feedback,
            review.list_queue,
            review.take_next,
            review.review_feedback,
            review.claim_feedback,
            review.release_feedback,
            review.get_agreement,
            cases.list_cases,
            cases.get_case,
            cases.change_case,
            assistants.get_assistants,
            guidelines.get_guidelines,
            guidelines.put_guidelines,
            guidelines.list_guidelines,
            guidelines.get_guidelines_version,
            suites.list_suites,
            suites.put_suite,
            suites.remove_suite,
            webhooks.create_webhook,
            webhooks.list_webhooks,
            webhooks.list_deliveries,
            webhooks.remove_webhook,
            assistants.get_versions,
            assistants.promote,
            assistants.roll_back,
            assistants.veto,
            assistants.get_trial,
            assistants.get_changelog,
            assistants.get_drift,
            evaluations.list_evaluations,
            evaluations.get_report,
            runs.request_run,
            runs.list_assistants_runs,
            runs.list_runs,
            runs.get_run,
            runs.change_run,
            runs.cancel_run,
            runs.retry_run,
            runs.follow_run,
            files.create_file,
            files.list_files,
            files.get_file,
            files.get_file_content,
            files.delete_file,
            fine_tuning.create_job,
            fine_tuning.list_jobs,
            fine_tuning.get_job,
            fine_tuning.cancel_job,
            fine_tuning.pause_job,
            fine_tuning.list_events,
            fine_tuning.list_checkpoints,
            datasets.list_datasets,
            datasets.compare_datasets,
            datasets.preview_dataset,
            datasets.get_dataset,
            datasets.verify_dataset,
            contributors.list_contributors,
            contributors.get_contributor,
            contributors.quarantine_contributor,
            contributors.release_contributor,
            erasures.create_erasure,
            erasures.list_erasures,
            erasures.get_erasure,
            lineage.get_lineage,
            health.live,
            health.ready,
            pages(site),
        ],
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
    app.asgi_handler = log_requests(app.asgi_handler)  # around the router, so that a 404 has a request id too
    return app
