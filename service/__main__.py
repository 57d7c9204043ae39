"""`python -m service`: read the settings, choose the engine, serve, and stop in order."""

import asyncio
import contextlib
import logging
import signal
import sys
import time
from types import FrameType

import structlog
import uvicorn

from feedback import logs, ports
from feedback.complaints import complaint_of
from feedback.config import Settings
from feedback.logs import whereabouts
from feedback.processes import keep_files_private
from service.app import create_app
from service.chat import Chat
from service.engines import open_engine

LAST_WORDS_SECONDS = 2
"""What replies that were cut short get to tell their clients."""
KEEP_ALIVE_SECONDS = 75
"""Longer than clients keep an idle connection (httpx 5 s, Node 5 s, proxies 60 s): one that we close as a request is on
its way fails that request."""
ONE_WISH_SECONDS = 1.0
"""Signals so close together are one wish: a process manager may tell us and `burnish up`, which tells us again."""


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
    """Serve until SIGTERM or Ctrl-C; running replies finish first, unless it is asked a second time."""
    logs.configure(settings.log_level)
    settings.open_database().check()
    engine = open_engine(
        settings.engine,
        settings.base_model,
        settings.models,
        device=settings.device,
        dtype=settings.dtype,
        max_batch=settings.max_batch,
        max_queue=settings.max_queue,
        kv_cache_mib=settings.kv_cache_mib,
        prefix_cache_mib=settings.prefix_cache_mib,
    )
    app = create_app(settings, engine)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the pages ask who is connected, not who a header says is
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    server = _Server(config, app.state["chat"], settings.shutdown_seconds)
    log = _ServerLog(server)
    logging.getLogger("uvicorn").addHandler(log)
    for wanted in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted, server.handle_exit)
    listener = ports.take(settings.host, settings.port)  # before the model is loaded
    with listener, contextlib.suppress(SystemExit):  # uvicorn's word for a failed start
        server.run(sockets=[listener])
    if server.started:
        return 0
    failure = app.state.get("failure")
    if failure is not None:
        raise failure
    return 0 if server.should_exit else 1


class _Server(uvicorn.Server):
    """Keeps listening while running replies finish, so that new requests and /health/ready hear why they are refused.

    uvicorn alone would close the door at the first signal.
    """

    def __init__(self, config: uvicorn.Config, chat: Chat, shutdown_seconds: float) -> None:
        super().__init__(config)
        self._chat = chat
        self._shutdown_seconds = shutdown_seconds
        self._asked: float | None = None
        self._hurried = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True
        self._asked = self._asked or time.monotonic()
        self._hurried = time.monotonic() - self._asked > ONE_WISH_SECONDS

    async def main_loop(self) -> None:
        """Serve, then drain; `shutdown` follows, which closes the door and waits for the last connections."""
        await super().main_loop()
        deadline = time.monotonic() + self._shutdown_seconds
        draining = asyncio.create_task(self._chat.drain(self._shutdown_seconds))
        while not draining.done():
            if self._hurried:
                self._chat.cut_short()
            await asyncio.wait([draining], timeout=0.1)
        left = 0 if self._hurried else int(deadline - time.monotonic())
        self.config.timeout_graceful_shutdown = max(left, LAST_WORDS_SECONDS)


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
