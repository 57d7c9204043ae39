"""`python -m service`: read the settings, choose the engine, serve."""

import contextlib
import logging
import signal
import sys

import structlog
import uvicorn

from feedback import logs, ports
from feedback.complaints import complaint_of
from feedback.config import Settings
from feedback.logs import whereabouts
from feedback.processes import keep_files_private
from service.app import create_app
from service.engines import open_engine


def main() -> int:
    keep_files_private()
    try:
        return serve(Settings())
    except Exception as error:
        if (complaint := complaint_of(error)) is None:
            raise
        print(f"burnish: {complaint}", file=sys.stderr)
        return 1


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or Ctrl-C; running replies finish first."""
    logs.configure(settings.log_level)
    settings.open_database().check()
    engine = open_engine(
        settings.engine,
        settings.base_model,
        settings.models,
        device=settings.device,
        dtype=settings.dtype,
        max_batch=settings.max_batch,
        prefix_cache_mib=settings.prefix_cache_mib,
    )
    app = create_app(settings, engine)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=settings.shutdown_seconds,
        server_header=False,
    )
    server = uvicorn.Server(config)
    log = _ServerLog(server)
    logging.getLogger("uvicorn").addHandler(log)

    def stop(*_: object) -> None:
        server.should_exit = True

    for wanted in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them again when it has stopped: no reason to die
        signal.signal(wanted, stop)
    listener = ports.take(settings.host, settings.port)  # before the model is loaded
    with listener, contextlib.suppress(SystemExit):  # uvicorn's word for a failed start
        server.run(sockets=[listener])
    if server.started:
        return 0
    failure = app.state.get("failure")
    if failure is not None:
        raise failure
    return 0 if server.should_exit else 1


class _ServerLog(logging.Handler):
    """uvicorn's warnings as lines of our log. Why a start failed is for `main` to say."""

    def __init__(self, server: uvicorn.Server) -> None:
        super().__init__(logging.WARNING)
        self._server = server
        self._log = structlog.get_logger()

    def emit(self, record: logging.LogRecord) -> None:
        if self._server.started:
            error = record.exc_info[1] if record.exc_info else None
            self._log.log(record.levelno, "server", says=record.getMessage(), **whereabouts(error))


if __name__ == "__main__":
    sys.exit(main())
