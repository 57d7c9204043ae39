"""`python -m service`: read the settings, choose the engine, serve."""

import sys

import uvicorn

from feedback import logs
from feedback.config import Settings
from feedback.errors import BurnishError
from service.app import create_app
from service.engines import open_engine


def main() -> int:
    settings = Settings()
    logs.configure(settings.log_level)
    try:
        settings.open_database().check()
        engine = open_engine(
            settings.engine,
            settings.base_model,
            settings.models,
            device=settings.device,
            dtype=settings.dtype,
            max_batch=settings.max_batch,
        )
        app = create_app(settings, engine)
    except BurnishError as error:
        print(f"burnish: {error.message}", file=sys.stderr)
        return 1
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=settings.shutdown_seconds,
        server_header=False,
    )
    server = uvicorn.Server(config)
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
